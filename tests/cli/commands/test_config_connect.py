"""`config validate --connect`: each server is tried, all at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dagmanager.cli.commands.config_validate import ALL_WITHIN_S, EACH_WITHIN_S
from tests.cli.running import call


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that hangs: the system accepts connections, nothing answers."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def validate(folder: Path, neo4j: str, kafka: str, *words: str) -> tuple[int, dict[str, str | None]]:
    """The exit code, and the error code of each server, None for one that answers."""
    path = folder / "s.yml"
    path.write_text(f"neo4j_dsn: {neo4j}\nkafka_dsn: {kafka}\n")
    done = call("config", "validate", "--config", str(path), "--json", *words)
    servers = json.loads(done.out).get("servers", [])
    return done.code, {each["field"]: (each["error"] or {}).get("code") for each in servers}


def test_servers_that_hang_or_are_absent_end_with_4(silent: str, tmp_path: Path) -> None:
    away = {"neo4j_dsn": "unavailable", "kafka_dsn": "unavailable"}
    assert validate(tmp_path, f"bolt://{silent}", silent, "--connect") == (4, away)
    assert validate(tmp_path, "bolt://127.0.0.1:1", "127.0.0.1:1", "--connect") == (4, away)
    assert EACH_WITHIN_S < ALL_WITHIN_S < 5


def test_nothing_is_asked_without_the_option_or_with_invalid_settings(silent: str, tmp_path: Path) -> None:
    assert validate(tmp_path, f"bolt://{silent}", silent) == (0, {})
    assert validate(tmp_path, "nowhere", silent, "--connect") == (2, {})


def test_servers_that_answer_end_with_0(neo4j: str, kafka: str, tmp_path: Path) -> None:
    assert validate(tmp_path, neo4j, kafka, "--connect") == (0, {"neo4j_dsn": None, "kafka_dsn": None})


def test_the_summary_counts_the_servers_and_each_has_a_help(tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text("neo4j_dsn: bolt://127.0.0.1:1\nkafka_dsn: 127.0.0.1:1\n")
    done = call("config", "validate", "--config", str(path), "--connect")
    assert done.code == 4
    assert done.out.splitlines()[-1].endswith("; 2 of 2 servers cannot be used")
    for field in ("neo4j_dsn", "kafka_dsn"):
        assert f"help: start the server, or correct `{field}`" in done.out
