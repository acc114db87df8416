"""On real servers: topics that others deleted or recreated are noticed; a broker that restarts loses none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.assembly import Assembled, assemble
from dagmanager.connect import FLOW_TOPICS
from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.engine.model.rows import QueueRow, QueueState
from dagmanager.engine.stages import Answer
from dagmanager.errors import UnavailableError
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.settings.table import Settings
from flows.polling import poll_once
from servers.kafka import KafkaServer
from servers.neo4j import wipe
from servers.records import records
from tests.engine.builders import node, submission, topics_of
from tests.kafka.topics import SOON_BACK, make, remove
from tests.waiting import until

PRICE = node("price", tags=["BTC"], node_type="PriceInput")
MEAN = node("mean", tags=["BTC", "mean"], inputs=[PRICE])
SETTLED_S = 0.5


class Site:
    """Deployments in this process; each is one of several that share broker and graph."""

    def __init__(self, servers: str, neo4j: str, prefix: str) -> None:
        # A namespace spells a dot in a world as a dash.
        self.world = prefix.removesuffix(".")
        own = {name: f"{prefix}{name}" for name in FLOW_TOPICS}
        self.settings = Settings(kafka_dsn=servers, neo4j_dsn=neo4j, **own)  # type: ignore[arg-type]  # all are text
        self.opened: list[Neo4jGraph] = []

    def started(self, sightings: int = 3) -> Assembled:
        parts = assemble(self.settings)
        watch, graph = parts.engine.lost_topics, parts.engine.graph
        self.opened += [graph] if isinstance(graph, Neo4jGraph) else []
        assert watch is not None
        watch.settled_s, watch.sightings = SETTLED_S, sightings
        return parts

    def submit(self, parts: Assembled, position: int) -> Answer:
        one = submission([PRICE, MEAN], world=self.world, strategy=f"s{position}", position=position)
        (answer,) = parts.engine.submit([one])
        return answer


@pytest.fixture
def site(kafka: str, empty_neo4j: str, topic_prefix: str) -> Iterator[Site]:
    made = Site(kafka, empty_neo4j, topic_prefix)
    yield made
    for each in made.opened:
        each.close()
    wipe(empty_neo4j)


def queues(parts: Assembled) -> dict[str, QueueState]:
    graph = parts.engine.graph
    assert isinstance(graph, Neo4jGraph | MemoryGraph)
    return {row.topic: row.state for row in graph.rows() if isinstance(row, QueueRow)}


def polled(parts: Assembled) -> Callable[[str], bool]:
    """Polls until the topic is lost."""

    def is_lost(topic: str) -> bool:
        poll_once(parts.engine)
        return queues(parts)[topic] is QueueState.LOST

    return is_lost


def test_a_deleted_topic_is_reported_and_created_again(
    site: Site, kafka_admin: AdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    parts = site.started()
    price, mean = topics_of(site.submit(parts, 0))
    for _ in range(4):
        poll_once(parts.engine)
    assert set(queues(parts).values()) == {QueueState.ACTIVE}
    remove(kafka_admin, price)
    with caplog.at_level(logging.WARNING, "dagmanager"):
        until(lambda: polled(parts)(price))
    (warning,) = caplog.messages
    assert all(word in warning for word in (price, PRICE["node_id"], f"{site.world}.live", "gone"))
    assert topics_of(site.submit(parts, 1)) == [f"{price}_v2", mean]
    assert set(parts.engine.topics.describe([price, f"{price}_v2", mean])) == {f"{price}_v2", mean}
    logged = [
        orjson.loads(each.value() or b"")
        for each in records(site.settings.kafka_dsn, site.settings.admin_log_topic)
    ]
    assert [AdminEntry(**each).topic for each in logged if each["action"] == "lost"] == [price]


def test_a_topic_recreated_by_another_program_is_foreign(site: Site, kafka_admin: AdminClient) -> None:
    parts = site.started()
    price, mean = topics_of(site.submit(parts, 0))
    remove(kafka_admin, mean)
    make(kafka_admin, mean)
    theirs = parts.engine.topics.describe([mean])[mean]
    until(lambda: polled(parts)(mean))
    assert topics_of(site.submit(parts, 1)) == [price, f"{mean}_v2"]
    assert parts.engine.topics.describe([mean])[mean].topic_id == theirs.topic_id


def test_of_processes_that_detect_a_loss_together_one_records_it(
    site: Site, kafka_admin: AdminClient
) -> None:
    parts = [site.started(sightings=1) for _ in range(3)]
    price, mean = topics_of(site.submit(parts[0], 0))
    remove(kafka_admin, price)
    remove(kafka_admin, mean)
    for each in parts:
        assert each.engine.find_lost() == ()  # suspected, and not for long enough
    time.sleep(SETTLED_S)  # the product's own limit, a minimum: longer does no harm
    epoch = parts[0].engine.graph.epoch()
    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(lambda one: one.engine.find_lost(), parts))
    assert sorted(each.queue.topic for lost in found for each in lost) == sorted([price, mean])
    assert parts[0].engine.graph.epoch() == epoch + 1


def test_a_broker_that_restarts_has_lost_nothing(kafka: str, tmp_path: Path) -> None:
    """Asked all the while; `kafka` is there so that the jars are."""
    with KafkaServer(tmp_path / "broker", settings=SOON_BACK) as broker:
        site = Site(broker.address, "", "")
        site.settings = Settings(kafka_dsn=broker.address, kafka_request_seconds=1.0)
        parts = site.started()
        watch = parts.engine.lost_topics
        assert watch is not None
        watch.settled_s = 0.0  # even then
        topics = topics_of(site.submit(parts, 0))
        broker.kill()
        with pytest.raises(UnavailableError):
            parts.engine.find_lost()
        broker.start()
        until(lambda: is_answered(parts))
        for _ in range(20):
            assert parts.engine.find_lost() == ()
        assert queues(parts) == dict.fromkeys(topics, QueueState.ACTIVE)


def is_answered(parts: Assembled) -> bool:
    try:
        return parts.engine.find_lost() == ()
    except UnavailableError:
        return False
