"""What is left after a run, as plain data: input, answers, dead letters, admin log, events, graph, broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import orjson
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from neo4j import Driver

from chaos.relations import Shown, shown
from dagmanager.dag.model import Origin, Record
from dagmanager.engine.model.event_ports import AdminEntry
from dagmanager.engine.model.rows import Row
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from servers.records import TIMEOUT_S, records


class Letter(NamedTuple):
    """A dead letter: which record of the input it buries, and why."""

    partition: int
    offset: int
    code: str


class Announced(NamedTuple):
    """A record on an event topic."""

    topic: str
    key: bytes
    value: bytes


class TagSet(NamedTuple):
    """What an announcement is about."""

    tags: tuple[str, ...]
    interval: int
    match_mode: str
    namespace: str


@dataclass(frozen=True)
class Evidence:
    """Records of one partition are in their order. `broker` maps each topic of ours to the broker's id for it,
    `tagged` each announced tag set to the topics that the graph has behind it now; `shown` is the graph as plain
    Cypher sees it."""

    inputs: Sequence[Record] = ()
    diffs: Sequence[bytes] = ()
    letters: Sequence[Letter] = ()
    admin_log: Sequence[AdminEntry] = ()
    events: Sequence[Announced] = ()
    rows: Sequence[Row] = ()
    broker: Mapping[str, str] | None = None
    tagged: Mapping[TagSet, tuple[str, ...]] | None = None
    shown: Shown | None = None


@dataclass(frozen=True)
class Places:
    """Where to look. `names` maps settings to topics; `prefix` is what queues' topics begin with."""

    servers: str
    names: Mapping[str, str]
    prefix: str


def gathered(places: Places, graph: Neo4jGraph, driver: Driver) -> Evidence:
    """Everything, from a world that stands still."""
    servers, names = places.servers, places.names
    source = names["submissions_topic"]
    admin = KafkaAdmin(KafkaAddress(servers))
    topic_id = admin.describe([source])[source].topic_id
    events = [
        Announced(names[setting], each.key() or b"", each.value() or b"")
        for setting in ("controlbus_queue_topic", "controlbus_sentinel_topic")
        for each in records(servers, names[setting])
    ]
    listed = AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=TIMEOUT_S)
    with driver.session() as session:
        seen = shown(session)
    ours = [name for name in listed.topics if name.startswith(places.prefix)]
    return Evidence(
        inputs=[_record(each, source, topic_id) for each in records(servers, source)],
        diffs=[each.value() or b"" for each in records(servers, names["diffs_topic"])],
        letters=[_letter(each) for each in records(servers, names["dead_letters_topic"])],
        admin_log=[
            msgspec.json.decode(each.value() or b"", type=AdminEntry)
            for each in records(servers, names["admin_log_topic"])
        ],
        events=events,
        rows=graph.rows(),
        broker={name: info.topic_id for name, info in admin.describe(ours).items()},
        tagged={each: _behind(graph, each) for each in _tag_sets(events)},
        shown=seen,
    )


def tag_set_of(data: Mapping[str, object]) -> TagSet | None:
    """What a queue event is about; None for a partial list, which nobody can ask for."""
    tags, interval = data.get("tags"), data.get("interval")
    if data.get("type") != "QueueUpdated" or not isinstance(tags, list) or not isinstance(interval, int):
        return None
    world, domain = str(data.get("world_id", "")), str(data.get("execution_domain", ""))
    namespace = f"{world}.{domain}" if world else ""
    return TagSet(tuple(tags), interval, str(data["match_mode"]), namespace) if tags else None


def _tag_sets(events: Sequence[Announced]) -> set[TagSet]:
    found = (tag_set_of(orjson.loads(each.value)["data"]) for each in events)
    # Only `all` is asked from the first record to the last (chaos.strategies.watcher): of others the last
    # announcement may be from before they were asked, or from when they were still.
    return {each for each in found if each is not None and each.match_mode == "all"}


def _behind(graph: Neo4jGraph, asked: TagSet) -> tuple[str, ...]:
    found = graph.tagged(asked.tags, asked.interval, asked.match_mode, asked.namespace)
    return tuple(each.topic for each in found)


def _record(message: Message, topic: str, topic_id: str) -> Record:
    _, timestamp_ms = message.timestamp()
    origin = Origin(topic, topic_id, message.partition() or 0, message.offset() or 0)
    return Record(message.value() or b"", origin, message.key(), max(timestamp_ms, 0))


def _letter(message: Message) -> Letter:
    given = message.headers() or []
    headers = {name: value or b"" for name, value in (given.items() if isinstance(given, dict) else given)}
    code = orjson.loads(headers["error"])["code"]
    return Letter(int(headers["source-partition"]), int(headers["source-offset"]), code)
