"""Getting ready on a real server: every everyday statement is planned, nothing is changed, and it ends early."""

from __future__ import annotations

import neo4j
import pytest

from dagmanager.graph.neo4j import reads, writes
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server
from tests.graph.builders import content, event, holder, lineage_row, node, outcome, queue, sentinel, store

SHOWN = sentinel("c1")
ROWS = (
    node("n1"),
    queue("topic1", "n1"),
    content("c1", "n1"),
    SHOWN,
    holder("s1", SHOWN.key),
    lineage_row(at_ms=3),
    outcome("k1", "topic1"),
    event("stream", 1, 1),
)

pytestmark = pytest.mark.live("neo4j")


@pytest.fixture
def graph(neo4j_server: Server, driver: neo4j.Driver) -> Neo4jGraph:
    return Neo4jGraph(driver, neo4j_server)


def test_it_changes_nothing(graph: Neo4jGraph) -> None:
    store(graph, *ROWS)
    before = graph.rows()
    graph.warm_up(lambda: False)
    assert graph.rows() == before


def test_it_stops_before_the_next_statement_when_that_is_enough(graph: Neo4jGraph) -> None:
    calls = 0

    def enough() -> bool:
        nonlocal calls
        calls += 1
        return calls > 2

    graph.warm_up(enough)
    assert calls == 3


def test_it_continues_to_the_last_statement(graph: Neo4jGraph) -> None:
    calls = 0

    def enough() -> bool:
        nonlocal calls
        calls += 1
        return False

    graph.warm_up(enough)
    assert calls == len(reads.WARMED_READS) + len(writes.WARMED_WRITES)
