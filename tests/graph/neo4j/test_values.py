"""Values as strategies send them: of any length, with any character, in every key and every property."""

from __future__ import annotations

from typing import Any

import neo4j
import pytest

from chaos.relations import contradictions, cypher_view
from dagmanager.dag.limits import TEXT_BYTES_MAX
from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import LookupKeys
from dagmanager.engine.model.rows import CounterRow, QueueRow, QueueState, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import HolderKey, LineageKey, LineageRow, SentinelState
from dagmanager.errors import ConstraintError, DagManagerError
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import Stores, WallClock, accepted, engine, submission
from tests.engine.builders import node as node_json
from tests.graph.builders import content, event, holder, node, outcome, queue, sentinel, store

LONGEST_TAG = 4_000
VALUES = {
    "long": "x" * 100_000,
    "long and wide": "\U0001f600" * 25_000,
    "just over": "y" * 1_001,
    "quotes": "it's `a` \"b\" \\ 'c' = ''",
    "marks": "\u2028 \u00e4\u0308 \ufeff \u202e \n\r\t",
    "nul": "a\x00b",
}


@pytest.fixture
def graph(neo4j_server: Server, driver: neo4j.Driver) -> Neo4jGraph:
    return Neo4jGraph(driver, neo4j_server)


def rows_with(value: str) -> list[Row]:
    held = sentinel(
        value, value, "w.live", version=value, state=SentinelState.PENDING, claim_id=value, lease_until_ms=1
    )
    return [
        node(value, base_name="base", tags=[value], depends_on=[value + "d"], name=value, schema_hash=value),
        node("q", query=TagQuery((value,), "any", 60)),
        queue("t", value, "w.live", state=QueueState.PROVISIONING, claim_id=value, lease_until_ms=1),
        content(value, (value, [value]), "q"),
        held,
        sentinel(value, value, "w.live", version=value, revision=2),
        holder(value, held.key, value),
        LineageRow(LineageKey(value, "w.live"), 1),
        TagSetRow(TagSetKey((value,), 60), 7),
        outcome(value, "t"),
        event(value, 1, 1),
        CounterRow(value, 3),
    ]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_every_kind_of_row_is_found_again(graph: Neo4jGraph, driver: neo4j.Driver, value: str) -> None:
    rows = rows_with(value)
    store(graph, *rows)
    assert set(graph.rows()) == set(rows)
    if len(value) <= LONGEST_TAG:  # the index of tags takes only what fits; `TagOf` has them all
        with driver.session() as session:
            assert contradictions(cypher_view(session), rows) == []
    bound = next(row for row in rows if isinstance(row, QueueRow)).binding
    line = LineageKey(value, "w.live")
    known = graph.known(
        LookupKeys(
            frozenset({bound}),
            frozenset({line}),
            frozenset({HolderKey(value, "w.live", value)}),
            frozenset({value}),
        )
    )
    assert (len(known.nodes), len(known.queues), len(known.sentinels[line])) == (1, 1, 2)
    assert (len(known.holders), len(known.outcomes), len(known.lineages)) == (1, 1, 1)
    assert graph.overdue_claims(5) == (value,)
    assert [row.stream for row in graph.waiting_events(5)] == [value]

    def asked(tx: Any) -> object:
        claim = tx.open_claim(value)
        assert (len(claim.queues), len(claim.sentinels), len(claim.versions[line])) == (1, 1, 2)
        assert [row.key for row in tx.tag_queries([(value, 60)])] == ["q"]
        assert len(tx.holders_of(rows[4].key)) == 1
        assert tx.contents([value]) == {value: rows[3]}
        key = TagSetKey((value,), 60)
        return tx.tag_revisions([key])[key], tx.counters([value])[value]

    assert graph.transact(asked) == (7, 3)


@pytest.mark.parametrize("value", [VALUES["quotes"], VALUES["marks"], VALUES["nul"], "x" * 2_000, "a' = 'b"])
def test_a_taken_name_is_reported_unchanged(graph: Neo4jGraph, value: str) -> None:
    store(graph, node("n1", base_name=value))
    with pytest.raises(ConstraintError) as caught:
        store(graph, node("n2", base_name=value.upper().lower()))
    assert caught.value.key == value.lower().replace(".", "_")


def test_thousands_of_short_tags(graph: Neo4jGraph) -> None:
    tags = sorted(f"{number:x}" for number in range(5_000))
    store(graph, node("n1", tags=tags), queue("t", "n1"))
    for tag in (tags[0], tags[-1]):
        assert [each.topic for each in graph.tagged((tag,), 60, "all", "")] == ["t"]


@pytest.mark.parametrize(
    "value", [VALUES["long"], VALUES["long and wide"], VALUES["quotes"]], ids=["x", "wide", "quotes"]
)
def test_the_engine_takes_them(graph: Neo4jGraph, value: str) -> None:
    """Strategy, lineage, version, tag and an outside dependency, twice, and then another version; as long as each
    may be."""
    stores = Stores(clock=WallClock(), topics=MemoryTopics(), open_graph=lambda _: graph)
    works = engine(stores)
    nodes = [node_json("price", tags=[value], inputs=["blake3:" + value])]
    bounded = value[: TEXT_BYTES_MAX // 4]
    given = {"strategy": bounded, "lineage": value, "world": "w1"}
    first = accepted(works.submit([submission(nodes, version=bounded, **given)])[0])
    again = accepted(works.submit([submission(nodes, version=bounded, position=1, **given)])[0])
    other = accepted(works.submit([submission(nodes, version="v2", position=2, **given)])[0])
    assert first.items == again.items == other.items


@pytest.mark.parametrize(
    "value", [bytes(400), b"\x81\xa4type\xa3new"], ids=["no row at all", "a newer release's"]
)
def test_a_row_of_another_program_is_reported_as_such(
    graph: Neo4jGraph, driver: neo4j.Driver, value: bytes
) -> None:
    store(graph, node("n1"), queue("t", "n1"))
    driver.execute_query("MATCH (q:Queue {topic: 't'}) SET q.row = $value", value=value)
    with pytest.raises(DagManagerError, match="a `row` that cannot be decoded"):
        graph.queues_after("", 10)
