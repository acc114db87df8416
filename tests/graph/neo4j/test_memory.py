"""A transaction that does not fit into the server's memory is given up after some tries (docs/semantics.md 10, too_large)."""

from __future__ import annotations

import time

import pytest
from neo4j.exceptions import Neo4jError

from dagmanager.errors import StoreMemoryError
from dagmanager.graph.neo4j import retry
from dagmanager.graph.neo4j.server import Server

CODES = sorted(retry._OUT_OF_MEMORY)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.mark.parametrize("code", CODES)
def test_it_is_given_up_after_some_tries(code: str) -> None:
    tries = 0

    def attempt() -> None:
        nonlocal tries
        tries += 1
        raise Neo4jError._hydrate_neo4j(code=code, message="no\nmemory")  # the driver's own way from the wire

    with pytest.raises(StoreMemoryError, match="no memory"):
        retry.retried(Server("bolt://nowhere"), attempt)
    assert tries == retry.MEMORY_TRIES


def test_memory_that_rivals_needed_for_a_moment_is_waited_for() -> None:
    failures = iter([CODES[0]] * (retry.MEMORY_TRIES - 1))

    def attempt() -> str:
        for code in failures:
            raise Neo4jError._hydrate_neo4j(code=code, message="no memory")
        return "done"

    assert retry.retried(Server("bolt://nowhere"), attempt) == "done"
