"""From settings to clients of real servers, each checked before anything is read.

With `create` missing topics and constraints are created (profile dev, `init`); without it they are a `SettingsError` that
names the command to run. An unreachable server is an `UnavailableError`: a supervisor then restarts the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from dagmanager.engine.model.admin_log_port import AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.errors import SettingsError
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.ping import ping
from dagmanager.graph.neo4j.server import Server, connect
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import Delivery
from dagmanager.kafka.whole_topic import WholeTopic
from dagmanager.settings.table import Settings
from dagmanager.topics.events import NoEvents
from dagmanager.topics.kafka import KafkaTopics
from dagmanager.topics.kafka_admin_log import KafkaAdminLog
from dagmanager.topics.kafka_events import KafkaEvents
from dagmanager.topics.kafka_preflight import check_topics, count_brokers, own_topics, require_topic

logger = logging.getLogger("dagmanager")

FLOW_TOPICS: Final = ("submissions_topic", "diffs_topic", "dead_letters_topic", "admin_log_topic")
EVENT_TOPICS: Final = ("controlbus_queue_topic", "controlbus_sentinel_topic")
# Replicas of the product's own topics, where there are enough brokers.
REPLICAS: Final = 3
# Events are published inside a graph transaction, whose time limit must exceed the delivery's.
TRANSACTIONS_PER_DELIVERY: Final = 3
LABELS_SHOWN: Final = 5
# 5,000 new nodes take 4 s on a small server, and a submission may have 20,000.
TRANSACTION_S: Final = 60.0


def ignore(_: str) -> None:
    """Counts nothing."""


@dataclass(frozen=True)
class Broker:
    """What the flow needs of Kafka. `names` maps a setting to the topic it names.

    `answers` writes chunks of answers in large batches; `producer` writes everything else. `partitions` is the setting
    `submissions_partitions`.
    """

    address: KafkaAddress
    answers: Delivery
    producer: Delivery
    topics: Topics
    events: EventSink
    admin_log: AdminLog
    names: Mapping[str, str]
    partitions: str


def neo4j_server(settings: Settings) -> Server:
    """Where the graph is, with the time limits of a flow."""
    within_s = max(TRANSACTION_S, TRANSACTIONS_PER_DELIVERY * settings.controlbus_delivery_seconds)
    return Server(
        settings.neo4j_dsn,
        settings.neo4j_user,
        settings.neo4j_password,
        settings.neo4j_database or None,
        transaction_within_s=within_s,
    )


def connection_tests(settings: Settings, within_s: float) -> dict[str, Callable[[], object]]:
    """For each address that is set (by its field) a call that connects there and authenticates; writes nothing.

    A call blocks for about `within_s` seconds at most. It raises `UnavailableError` when no server answers, and
    `SettingsError` when the server rejects the client.
    """
    calls: dict[str, Callable[[], object]] = {}
    if settings.neo4j_dsn:
        calls["neo4j_dsn"] = lambda: ping(neo4j_server(settings), within_s)
    for field, address in (("kafka_dsn", _kafka(settings)), ("controlbus_dsn", _controlbus(settings))):
        if address.servers:
            limited = msgspec.structs.replace(address, request_s=within_s)
            calls[field] = lambda limited=limited: count_brokers(KafkaAdmin(limited))  # type: ignore[misc]  # bound now
    return calls


def connect_graph(settings: Settings, *, create: bool) -> Neo4jGraph:
    """The graph on Neo4j, with the schema of this release; with `create` missing constraints are created.

    Blocks for a few queries. Raises `SettingsError` when the server rejects the user, or the schema is missing or of
    another release; `UnavailableError` when the server is unreachable.
    """
    server = neo4j_server(settings)
    # A server that hangs would be noticed three times as late by the retries of the first query.
    ping(server, server.connect_within_s)
    graph = Neo4jGraph(connect(server), server)
    try:
        if foreign := graph.foreign_labels():
            logger.warning(
                "neo4j_dsn: the database at %s holds other data (%s) and none of this product: is it the right one? "
                "New data goes beside it; existing data is not touched",
                server.uri,
                ", ".join(foreign[:LABELS_SHOWN]) + (", …" if len(foreign) > LABELS_SHOWN else ""),
            )
        created = graph.prepare(create=create)
    except BaseException:
        graph.close()
        raise
    if created:
        logger.info("neo4j: created %d constraints and indexes", len(created))
    return graph


def connect_broker(settings: Settings, *, create: bool, dropped: Callable[[str], None] = ignore) -> Broker:
    """Kafka and the ControlBus (another cluster, the same, or none), with the own topics checked.

    `dropped` is called with the channel of each event that is too large for its topic. Blocks and raises as
    `kafka_preflight.check_topics`, with `create` as there.
    """
    address, names = _kafka(settings), _named(settings, FLOW_TOPICS)
    admin, producer = KafkaAdmin(address), KafkaProducer(address)
    _checked(admin, names, settings, create=create)
    return Broker(
        address,
        KafkaProducer(address, batch_bytes=MAX_BYTES),
        producer,
        KafkaTopics(admin),
        _events(settings, create=create, dropped=dropped),
        KafkaAdminLog(producer, names["admin_log_topic"]),
        names,
        settings.submissions_partitions,
    )


def _events(settings: Settings, *, create: bool, dropped: Callable[[str], None]) -> EventSink:
    if not settings.controlbus_dsn:
        logger.info("control events are off: controlbus_dsn is empty")
        return NoEvents()
    address, names = _controlbus(settings), _named(settings, EVENT_TOPICS)
    _checked(KafkaAdmin(address), names, settings, create=create)
    topic_of = {
        "queue": names["controlbus_queue_topic"],
        "sentinel_weight": names["controlbus_sentinel_topic"],
    }
    return KafkaEvents(KafkaProducer(address), topic_of, dropped)


def create_topics(settings: Settings, *, dry_run: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The own topics that were created (in a dry run: are missing), and those that existed.

    Blocks and raises as `check_topics`.
    """
    created: list[str] = []
    existing: list[str] = []
    clusters: list[tuple[KafkaAddress, tuple[str, ...]]] = []
    if settings.kafka_dsn:
        clusters.append((_kafka(settings), FLOW_TOPICS))
    if settings.controlbus_dsn:
        clusters.append((_controlbus(settings), EVENT_TOPICS))
    for address, wanted in clusters:
        admin, names = KafkaAdmin(address), _named(settings, wanted)
        topics = [topic for topic in names.values() if topic]
        if dry_run:
            found = admin.describe(topics)
            new = [topic for topic in topics if topic not in found]
        else:
            new = list(_checked(admin, names, settings, create=True))
        created += new
        existing += [topic for topic in topics if topic not in new]
    return tuple(created), tuple(existing)


def open_admin_log(settings: Settings) -> WholeTopic:
    """The admin log's topic, to be read once; the caller closes it.

    Raises `SettingsError` when there is none or the brokers reject the client, `UnavailableError` when they are unreachable.
    """
    address = _kafka(settings)
    for own in own_topics(_named(settings, ("admin_log_topic",)), settings.submission_bytes_max):
        return WholeTopic(address, own.topic, require_topic(KafkaAdmin(address), own).partitions)
    msg = "admin_log_topic is empty: no topic holds the log"
    raise SettingsError(msg)


def _kafka(settings: Settings) -> KafkaAddress:
    return KafkaAddress(
        settings.kafka_dsn,
        settings.kafka_options,
        settings.kafka_request_seconds,
        settings.kafka_delivery_seconds,
    )


def _controlbus(settings: Settings) -> KafkaAddress:
    return KafkaAddress(
        settings.controlbus_dsn,
        settings.controlbus_options or settings.kafka_options,
        settings.kafka_request_seconds,
        settings.controlbus_delivery_seconds,
        "controlbus_options" if settings.controlbus_options else "kafka_options",
    )


def _named(settings: Settings, fields: tuple[str, ...]) -> dict[str, str]:
    return {setting: getattr(settings, setting) for setting in fields}


def most_replicas(settings: Settings) -> int:
    """The largest replication factor among the topic types."""
    return max(shape.replication_factor for shape in settings.topic_shapes.values())


def _checked(
    admin: KafkaAdmin, names: Mapping[str, str], settings: Settings, *, create: bool
) -> tuple[str, ...]:
    """Check the own topics and log what was found; the topics that were created."""
    checked = check_topics(admin, own_topics(names, settings.submission_bytes_max), REPLICAS, create)
    short = most_replicas(settings) - checked.brokers
    if settings.profile == "prod" and short > 0 and set(names) & set(FLOW_TOPICS):
        logger.warning(
            "kafka_dsn: %d brokers are up, but topic_shapes asks for %d replicas: where the others are only down, new topics "
            "get their missing replicas when they are back; without %d more brokers, new nodes are refused (topic_refused)",
            checked.brokers,
            most_replicas(settings),
            short,
        )
    for topic in checked.created:
        logger.info("kafka: created topic %s", topic)
    for warning in checked.warnings:
        logger.warning("%s", warning)
    return checked.created
