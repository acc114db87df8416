"""The engine over a real Neo4j: random histories end as on the embedded graph, and so do crashes between effects."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import neo4j
import pytest

from chaos.relations import contradictions, cypher_view, queues_of_another_interval
from dagmanager.engine.model.outcome import encode
from dagmanager.engine.model.rows import CounterRow, NodeRow, Row
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from dagmanager.topics.memory import MemoryTopics
from servers.neo4j import wipe
from tests.engine.builders import DAY_MS, POLICY, START_MS, AuditedGraph, Clock, Stores, WallClock, engine
from tests.engine.crash_scenarios import (
    SCENARIOS,
    Scenario,
    World,
    answers,
    assert_as_if_whole,
    assert_settled,
    points_of,
    undated,
)
from tests.engine.crash_scenarios import events as events_of
from tests.engine.test_batch import arrivals, cut
from tests.waiting import TIMEOUT_S

LENGTH = 60
MOMENTS = (
    "created_ms",
    "lease_until_ms",
    "last_seen_ms",
    "unreferenced_ms",
    "expires_ms",
    "buffering_since_ms",
)
# One scenario of each kind of effect; the embedded graph has them all.
CRASHED = {
    "overlap_in_one_batch",
    "schema_change",
    "canary",
    "joined_queue",
    "foreign_topic",
    "refused_topic",
}
EVERY = 7


@pytest.fixture
def driver(neo4j_server: Server) -> Iterator[neo4j.Driver]:
    with connect(neo4j_server) as opened:
        yield opened


@pytest.fixture
def on_server(neo4j_server: Server, driver: neo4j.Driver) -> Callable[[Clock], AuditedGraph]:
    """An empty graph each time."""

    def opened(_: Clock) -> AuditedGraph:
        wipe(neo4j_server.uri)
        return Neo4jGraph(driver, neo4j_server)

    return opened


def timeless(row: Row) -> Row:
    """Without times: only whether one is set is compared."""
    moments: dict[str, Any] = {name: 0 for name in MOMENTS if getattr(row, name, None) is not None}
    if isinstance(row, NodeRow):
        moments["schemas"] = undated(row.schemas)
    return msgspec.structs.replace(row, **moments, **({"topic_id": ""} if hasattr(row, "topic_id") else {}))


def settled(stores: Stores) -> dict[tuple[str, Any], Row]:
    return {(type(row).__name__, row.key): timeless(row) for row in stores.all_rows()}


# A batch that takes a third of a lease is finished in groups, which announces more revisions: on a busy machine that would
# be the real time of the server, while the clock of the embedded graph stands still.
PATIENT = msgspec.structs.replace(POLICY, lease_ms=int(TIMEOUT_S * 1000))


@pytest.mark.parametrize("seed", [3, 8])
def test_a_random_history_ends_as_on_the_embedded_graph(
    seed: int, driver: neo4j.Driver, on_server: Callable[[Clock], AuditedGraph]
) -> None:
    """Answers byte for byte, every row, every event; and properties and relationships agree with the rows."""
    batches = cut(random.Random(seed), arrivals(seed)[:LENGTH])
    embedded = Stores(clock=Clock(START_MS + 30 * DAY_MS))
    real = Stores(clock=WallClock(), open_graph=on_server)
    one, other = engine(embedded, policy=PATIENT), engine(real, policy=PATIENT)
    for batch in batches:
        assert [encode(each.result) for each in other.submit(batch)] == [
            encode(each.result) for each in one.submit(batch)
        ]
    found, expected = settled(real), settled(embedded)
    assert {key for key in expected | found if found.get(key) != expected.get(key)} == set()
    assert events_of(real) == events_of(embedded)
    assert isinstance(embedded.graph, MemoryGraph)
    assert len(real.rows(NodeRow)) > 5
    assert any(isinstance(row, CounterRow) and row.name == "epoch" for row in real.all_rows())
    with driver.session() as session:
        assert contradictions(cypher_view(session), real.all_rows()) == []
        assert queues_of_another_interval(session) == ()


@pytest.mark.parametrize(
    "scenario", [each for each in SCENARIOS if each.name in CRASHED], ids=lambda each: each.name
)
def test_the_replay_after_a_crash_ends_as_if_there_had_been_none(
    scenario: Scenario, on_server: Callable[[Clock], AuditedGraph]
) -> None:
    # A clock ahead of every record, as the server's is: then schemas are dated by their records.
    whole = World(scenario, lambda topics: Stores(clock=Clock(START_MS + DAY_MS), topics=topics))
    expected = answers(whole.run("one"))

    def opened(topics: MemoryTopics) -> Stores:
        return Stores(clock=WallClock(), topics=topics, open_graph=on_server)

    for point in points_of(scenario)[::EVERY]:
        world = World(scenario, opened)
        # Waiting for a lease takes as many looks as it takes: the last points may not be reached.
        assert world.crash_at(point) or scenario.name == "joined_queue"
        assert answers(world.run("two")) == expected, point
        assert_as_if_whole(world, whole, point)


def test_without_a_replay_the_poll_finishes_what_was_claimed(
    on_server: Callable[[Clock], AuditedGraph],
) -> None:
    (scenario,) = [each for each in SCENARIOS if each.name == "overlap_in_one_batch"]

    def opened(topics: MemoryTopics) -> Stores:
        return Stores(clock=WallClock(), topics=topics, open_graph=on_server)

    for point in points_of(scenario)[::EVERY]:
        world = World(scenario, opened)
        world.crash_at(point)
        world.poll()
        assert_settled(world.stores, world.foreign)
