"""The servers of a test session, and tests on machines that cannot run any."""

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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def no_output(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture
def pool() -> Iterator[OwnedServers]:
    opened = OwnedServers(no_output, choose=lambda: None)
    yield opened
    opened.close()


def test_a_worker_gets_the_servers_of_the_owner(pool: OwnedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMTL_TEST_KAFKA", "127.0.0.1:1,127.0.0.1:2")
    worker = RemoteServers(pool.open())
    worker.warm(["kafka"])
    assert (
        worker.ask("kafka") == pool.ask("kafka") == ServerReply(Availability.READY, "127.0.0.1:1,127.0.0.1:2")
    )


def test_each_worker_needs_its_own_database(pool: OwnedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMTL_TEST_NEO4J", "bolt://127.0.0.1:1")
    answer = pool.ask("neo4j/gw1")
    assert answer.state is Availability.FAILED
    assert "each parallel worker needs its own" in answer.text


def test_a_database_with_data_is_not_used(
    pool: OwnedServers, empty_neo4j: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver:
        driver.execute_query("CREATE (:Precious)")
    monkeypatch.setenv("QMTL_TEST_NEO4J", empty_neo4j)
    answer = pool.ask("neo4j/main")
    assert answer.state is Availability.FAILED
    assert "has 1 nodes" in answer.text


def test_a_closed_session_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pool = OwnedServers(no_output, choose=lambda: None)
    assert Path(pool.open()).exists()
    pool.close()
    assert list(tmp_path.iterdir()) == []


def test_the_next_owner_removes_the_folders_of_a_killed_one(
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
    """A session on a machine with neither Java nor Docker."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers]
    return subprocess.run(
        [*command, "tests/servers/test_fixtures.py"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_java_and_docker_live_tests_are_skipped_with_one_red_line(tmp_path: Path) -> None:
    done = pytest_without_servers(tmp_path, "2")
    assert done.returncode == 0, done.stdout
    assert "3 skipped" in done.stdout
    red = re.findall(r"^LIVE TESTS DID NOT RUN: .*$", done.stdout, re.MULTILINE)
    assert len(red) == 1
    assert "Maven" in red[0]
    assert "docs/contributing/servers.md" in red[0]


def test_in_ci_live_tests_fail_without_servers(tmp_path: Path) -> None:
    done = pytest_without_servers(tmp_path, "0", CI="true")
    assert done.returncode == 1
    assert "3 errors" in done.stdout


def test_fetching_without_java_and_docker_fails_in_ci_only(tmp_path: Path) -> None:
    for ci, code in (("", 0), ("true", 1)):
        command = [sys.executable, "-m", "servers", "fetch"]
        environment = {"PATH": str(tmp_path), "CI": ci}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stdout.startswith("NO REAL SERVERS")
