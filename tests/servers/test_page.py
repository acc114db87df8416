"""Settings, fixtures and variables in docs/contributing/servers.md exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from servers import fixtures, session
from servers.kafka import KafkaServer
from servers.launch import JavaLaunch
from servers.neo4j import Neo4jServer

PAGE = (Path(session.__file__).parent.parent / "docs/contributing/servers.md").read_text(encoding="utf-8")


def first_cells(header: str) -> list[str]:
    """The quoted words in the first column of the table under a header."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    return [word for row in table.splitlines() for word in re.findall(r"`([^`]+)`", row.partition(" | ")[0])]


@pytest.mark.parametrize("kind", ["Kafka", "Neo4j"])
def test_every_setting_named_is_set(kind: str, tmp_path: Path) -> None:
    make = {"Kafka": KafkaServer, "Neo4j": Neo4jServer}[kind]
    settings = make(tmp_path, launch=JavaLaunch()).settings()
    named = first_cells(f"{kind} | value")
    assert named
    for name in named:
        pattern = re.escape(name).replace(r"\*", ".*")
        assert any(re.search(pattern + "$", key) for key in settings), name


def test_every_fixture_named_exists() -> None:
    named = first_cells("fixture")
    assert "kafka" in named
    for name in named:
        assert hasattr(fixtures, name), name


def test_every_variable_named_is_read() -> None:
    assert set(re.findall(r"QMTL_TEST_\w+", PAGE)) == set(session.VARIABLES.values())
