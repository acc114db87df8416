"""What a run left behind, as plain data: input, answers, dead letters, admin log, events, graph, broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import orjson
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from neo4j import Driver

from chaos.relations import CypherView, cypher_view
from dagmanager.dag.model import Origin, Record
from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.engine.model.rows import Row
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from servers.records import TIMEOUT_S, records


class DeadLetter(NamedTuple):
    """A dead letter: the position of its record on the submissions topic, and the error code."""

    partition: int
    offset: int
    code: str


class AnnouncedEvent(NamedTuple):
    """A record on an event topic."""

    topic: str
    key: bytes
    value: bytes


class Shape(NamedTuple):
    """Partitions and replicas of a topic."""

    partitions: int
    replicas: int


class TagSet(NamedTuple):
    """The tag query that an event answers."""

    tags: tuple[str, ...]
    interval: int
    match_mode: str
    namespace: str


@dataclass(frozen=True)
class Evidence:
    """Everything that is audited. Records of one partition are in order.

    `broker` maps the run's topics to their ids, `shapes` to their partitions and replicas, `tagged` each announced tag set to the topics that the graph now has for
    it; `cypher` is the graph as read by plain Cypher.
    """

    inputs: Sequence[Record] = ()
    diffs: Sequence[bytes] = ()
    dead_letters: Sequence[DeadLetter] = ()
    admin_log: Sequence[AdminEntry] = ()
    events: Sequence[AnnouncedEvent] = ()
    rows: Sequence[Row] = ()
    broker: Mapping[str, str] | None = None
    shapes: Mapping[str, Shape] | None = None
    tagged: Mapping[TagSet, tuple[str, ...]] | None = None
    cypher: CypherView | None = None


@dataclass(frozen=True)
class EvidenceSources:
    """Where evidence is read. `names` maps settings to topics; `prefix` begins the names of queue topics."""

    servers: str
    names: Mapping[str, str]
    prefix: str


def gather(sources: EvidenceSources, graph: Neo4jGraph, driver: Driver) -> Evidence:
    """Read everything; all flow processes must have ended. Blocks for seconds."""
    servers, names = sources.servers, sources.names
    source = names["submissions_topic"]
    admin = KafkaAdmin(KafkaAddress(servers))
    topic_id = admin.describe([source])[source].topic_id
    events = [
        AnnouncedEvent(names[setting], each.key() or b"", each.value() or b"")
        for setting in ("controlbus_queue_topic", "controlbus_sentinel_topic")
        for each in records(servers, names[setting])
    ]
    listed = AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=TIMEOUT_S)
    with driver.session() as session:
        seen = cypher_view(session)
    queue_topics = [name for name in listed.topics if name.startswith(sources.prefix)]
    described = admin.describe(queue_topics)
    return Evidence(
        inputs=[_record(each, source, topic_id) for each in records(servers, source)],
        diffs=[each.value() or b"" for each in records(servers, names["diffs_topic"])],
        dead_letters=[_dead_letter(each) for each in records(servers, names["dead_letters_topic"])],
        admin_log=[
            msgspec.json.decode(each.value() or b"", type=AdminEntry)
            for each in records(servers, names["admin_log_topic"])
        ],
        events=events,
        rows=graph.rows(),
        broker={name: info.topic_id for name, info in described.items()},
        shapes={name: Shape(info.partitions, info.replication) for name, info in described.items()},
        tagged={each: _behind(graph, each) for each in _tag_sets(events)},
        cypher=seen,
    )


def tag_set_of(data: Mapping[str, object]) -> TagSet | None:
    """The tag query of a queue event; None for a partial list, which answers no query."""
    tags, interval = data.get("tags"), data.get("interval")
    if data.get("type") != "QueueUpdated" or not isinstance(tags, list) or not isinstance(interval, int):
        return None
    world, domain = str(data.get("world_id", "")), str(data.get("execution_domain", ""))
    namespace = f"{world}.{domain}" if world else ""
    return TagSet(tuple(tags), interval, str(data["match_mode"]), namespace) if tags else None


def _tag_sets(events: Sequence[AnnouncedEvent]) -> set[TagSet]:
    found = (tag_set_of(orjson.loads(each.value)["data"]) for each in events)
    # Only queries in match mode `all` are in force from the first record to the last (chaos.strategies.tag_query_record).
    # The last event of another may date from before its query, or from while the query was still in force.
    return {each for each in found if each is not None and each.match_mode == "all"}


def _behind(graph: Neo4jGraph, asked: TagSet) -> tuple[str, ...]:
    found = graph.tagged(asked.tags, asked.interval, asked.match_mode, asked.namespace)
    return tuple(each.topic for each in found)


def _record(message: Message, topic: str, topic_id: str) -> Record:
    _, timestamp_ms = message.timestamp()
    origin = Origin(topic, topic_id, message.partition() or 0, message.offset() or 0)
    return Record(message.value() or b"", origin, message.key(), max(timestamp_ms, 0))


def _dead_letter(message: Message) -> DeadLetter:
    given = message.headers() or []
    headers = {name: value or b"" for name, value in (given.items() if isinstance(given, dict) else given)}
    code = orjson.loads(headers["error"])["code"]
    return DeadLetter(int(headers["source-partition"]), int(headers["source-offset"]), code)
