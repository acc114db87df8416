"""Who owns a session's servers, and what becomes of tests where there are none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from neo4j import GraphDatabase

from servers.folders import OwnedFolder
from servers.session import Availability, OwnedServers, RemoteServers, ServerReply

ROOT = Path(__file__).parent.parent.parent


def unsaid(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture
def pool() -> Iterator[OwnedServers]:
    opened = OwnedServers(unsaid, choose=lambda: None)
    yield opened
    opened.close()


def test_a_worker_gets_what_the_owner_has(pool: OwnedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMTL_TEST_KAFKA", "127.0.0.1:1,127.0.0.1:2")
    worker = RemoteServers(pool.open())
    worker.warm(["kafka"])
    assert (
        worker.ask("kafka") == pool.ask("kafka") == ServerReply(Availability.READY, "127.0.0.1:1,127.0.0.1:2")
    )


def test_each_worker_needs_a_database_of_its_own(pool: OwnedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMTL_TEST_NEO4J", "bolt://127.0.0.1:1")
    answer = pool.ask("neo4j/gw1")
    assert answer.state is Availability.FAILED
    assert "each parallel worker needs one of its own" in answer.text


def test_a_database_that_holds_something_is_not_taken(
    pool: OwnedServers, empty_neo4j: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver:
        driver.execute_query("CREATE (:Precious)")
    monkeypatch.setenv("QMTL_TEST_NEO4J", empty_neo4j)
    answer = pool.ask("neo4j/main")
    assert answer.state is Availability.FAILED
    assert "holds 1 nodes" in answer.text


def test_a_closed_session_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pool = OwnedServers(unsaid, choose=lambda: None)
    assert Path(pool.open()).exists()
    pool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_owner_left_goes_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "import os, servers.folders as f; kept = f.OwnedFolder(); print(kept.path, flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert Path(killed.stdout.strip()).is_dir()
    with OwnedFolder() as one, OwnedFolder() as other:
        assert set(tmp_path.iterdir()) == {one.path, other.path}


def pytest_without_servers(
    tmp_path: Path, workers: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The session of somebody who has neither Java nor Docker."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers]
    return subprocess.run(
        [*command, "tests/servers/test_fixtures.py"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_java_and_docker_live_tests_are_skipped_with_one_loud_line(tmp_path: Path) -> None:
    done = pytest_without_servers(tmp_path, "2")
    assert done.returncode == 0, done.stdout
    assert "3 skipped" in done.stdout
    loud = re.findall(r"^LIVE TESTS DID NOT RUN: .*$", done.stdout, re.MULTILINE)
    assert len(loud) == 1
    assert "Maven" in loud[0]
    assert "docs/contributing/servers.md" in loud[0]


def test_in_ci_live_tests_fail_without_servers(tmp_path: Path) -> None:
    done = pytest_without_servers(tmp_path, "0", CI="true")
    assert done.returncode == 1
    assert "3 errors" in done.stdout


def test_who_fetches_without_java_and_docker_is_told_and_fails_in_ci_only(tmp_path: Path) -> None:
    for ci, code in (("", 0), ("true", 1)):
        command = [sys.executable, "-m", "servers", "fetch"]
        environment = {"PATH": str(tmp_path), "CI": ci}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stdout.startswith("NO REAL SERVERS")
