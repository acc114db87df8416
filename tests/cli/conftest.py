"""A real Neo4j for the commands that speak to one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.neo4j_words import restore, strip


@pytest.fixture(scope="module")
def borrowed_neo4j(neo4j: str) -> Iterator[str]:
    """This worker's database for one module that changes the schema."""
    yield neo4j
    restore(neo4j)


@pytest.fixture
def bare_neo4j(borrowed_neo4j: str) -> str:
    """The address of a database without nodes, constraints and indexes."""
    strip(borrowed_neo4j)
    return borrowed_neo4j


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's environment without settings of ours."""
    for name in list(os.environ):
        if name.startswith("DAGMANAGER_"):
            monkeypatch.delenv(name)
