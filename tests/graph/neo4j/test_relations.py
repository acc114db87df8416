"""Properties and relationships agree with the rows, after any writes and deletes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import neo4j
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.relations import contradictions, cypher_view
from dagmanager.dag.model import Artifact, TagQuery
from dagmanager.engine.model.graph_port import Graph, Transaction
from dagmanager.engine.model.rows import CounterRow, QueueRow, QueueState, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import LineageKey, LineageRow
from dagmanager.errors import ConstraintError
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.graph import answers as world
from tests.graph.builders import (
    content,
    event,
    holder,
    locks_for,
    node,
    outcome,
    queue,
    remove,
    sentinel,
    store,
)
from tests.graph.conftest import wall_ms
from tests.graph.full_rows import FULL
from tests.graph.naive import NaiveGraph
from tests.graph.test_model import STEPS, DeliberateError


@pytest.fixture(scope="module")
def driver(neo4j_server: Server) -> Iterator[neo4j.Driver]:
    with connect(neo4j_server) as opened:
        yield opened


@pytest.fixture
def real(neo4j_server: Server, driver: neo4j.Driver) -> Neo4jGraph:
    wipe(neo4j_server.uri)
    return Neo4jGraph(driver, neo4j_server)


def check(graph: Neo4jGraph, driver: neo4j.Driver) -> None:
    with driver.session() as session:
        assert contradictions(cypher_view(session), graph.rows()) == []


BEFORE: list[Row] = [
    node("d1"),
    node("n1", tags=["a", "b"], depends_on=["d1", "elsewhere"], artifacts=(Artifact("p", "sum", 1),)),
    node("q1", query=TagQuery(("a", "b"), "any", 60)),
    queue("one", "n1"),
    content("c1", ("n1", ["a"]), "q1", "elsewhere"),
    content("c2", "d1"),
    sentinel("c1", introduced=("n1", "q1")),
    holder("s1", sentinel("c1").key),
    LineageRow(LineageKey("line", ""), 1),
    TagSetRow(TagSetKey(("a",), 60), 1),
    CounterRow("weights", 1),
    outcome("k1", "one"),
    event("x", 1, 1),
]
AFTER: list[Row] = [
    node("n1", tags=["b", "c"], depends_on=["other"], artifacts=(Artifact("p2", "sum", 2, "torch", "f4"),)),
    node("q1", query=TagQuery(("c",), "all", 60)),
    queue("one", "n1", state=QueueState.CONDEMNED, unreferenced_ms=5, ttl_ms=7),
    content("c1", ("d1", ["z"])),
    sentinel("c2", introduced=("d1",), weight_asked=0.5),
    holder("s1", sentinel("c1", version="v2").key),
    LineageRow(LineageKey("line", ""), 2),
    TagSetRow(TagSetKey(("a",), 60), 2),
    CounterRow("weights", 2),
]


def test_rows_as_written(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    store(real, *BEFORE)
    check(real, driver)


def test_every_field_of_every_row(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    store(real, *FULL)
    check(real, driver)


def test_replaced_rows_link_to_what_they_name_now(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    store(real, *BEFORE)
    store(real, *AFTER)
    check(real, driver)
    store(real, *BEFORE)
    check(real, driver)


def test_what_a_node_no_longer_has_is_not_linked(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    whole = node("n1", tags=["a"], depends_on=["d1"], query=TagQuery(("a",), "any", 60))
    bare = node("n1")
    for row in (bare, whole, bare, node("n1", tags=["b"]), bare, whole):
        store(real, row)
        check(real, driver)


def test_of_rows_that_are_written_twice_at_once_the_last_counts(
    real: Neo4jGraph, driver: neo4j.Driver
) -> None:
    store(real, *BEFORE, *AFTER)
    naive = NaiveGraph(lambda: 0)
    store(naive, *BEFORE, *AFTER)
    assert set(real.rows()) == set(naive.all.values())
    check(real, driver)


def test_a_queue_that_is_written_before_its_node(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    store(real, queue("one", "n1"), queue("two", "n2"))
    check(real, driver)
    store(real, node("n2", interval=300), node("n1", interval=0))
    check(real, driver)


def test_a_topic_of_two_bindings_at_once_is_refused(real: Neo4jGraph) -> None:
    with pytest.raises(ConstraintError) as caught:
        store(real, queue("One", "n1"), queue("One", "n2"))
    assert caught.value.key == "one"
    assert real.rows() == ()


def test_removed_rows_leave_only_what_others_name(real: Neo4jGraph, driver: neo4j.Driver) -> None:
    store(real, *BEFORE)
    gone = [row for row in BEFORE if row.key != "one"]
    for row in gone:
        remove(real, row)
        check(real, driver)
    store(real, *BEFORE)
    check(real, driver)
    remove(real, *reversed(gone))
    check(real, driver)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(st.tuples(STEPS, st.booleans()), min_size=3, max_size=6))
def test_random_histories(
    real: Neo4jGraph,
    driver: neo4j.Driver,
    neo4j_server: Server,
    histories: list[tuple[list[tuple[str, list[Row]]], bool]],
) -> None:
    """Transactions that are kept, fail, and break constraints end as on the naive graph."""
    wipe(neo4j_server.uri)
    real = Neo4jGraph(driver, neo4j_server)  # contents never change, so that one remembers them over a wipe
    naive = NaiveGraph(wall_ms)
    for steps, fails in histories:
        assert ended(real, steps, fails) == ended(naive, steps, fails)
        assert without_epoch(real.rows()) == without_epoch(naive.all.values())
    check(real, driver)
    assert world.answers(real) == world.answers(naive)


def without_epoch(rows: Iterable[Row]) -> set[Row]:
    """A server lists an epoch only once it was raised; every answer about it is compared."""
    return {row for row in rows if not (isinstance(row, CounterRow) and row.name == "epoch")}


def ended(graph: Graph, steps: list[tuple[str, list[Row]]], fails: bool) -> str:
    def work(tx: Transaction) -> None:
        tx.lock(locks_for([row for _, rows in steps for row in rows]))
        for how, rows in steps:
            if how == "put":
                tx.put(rows)
            elif how == "delete":
                tx.delete([row for row in rows if not isinstance(row, QueueRow)])
        if any(how == "epoch" for how, _ in steps):
            tx.raise_epoch()
        if fails:
            tx.nodes([])  # a taken name is reported by now
            raise DeliberateError

    try:
        graph.transact(work)
    except ConstraintError as error:
        return f"taken {error.key}"
    except DeliberateError:
        return "failed"
    return "kept"
