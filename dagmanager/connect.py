"""Settings → clients of real servers, each checked before anything is read.

With `create` what is missing is made (dev, `init`); else its absence is a `SettingsError` that says what
to run. A server that does not answer is an `UnavailableError`: whoever supervises us starts us again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dagmanager.engine.model.event_ports import AdminLog, EventSink
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.errors import SettingsError
from dagmanager.graph.neo4j.graph import Neo4jGraph, Server, connect
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
from dagmanager.topics.kafka_preflight import check_topics, own_topics, require_topic

logger = logging.getLogger("dagmanager")

FLOW_TOPICS: Final = ("submissions_topic", "diffs_topic", "dead_letters_topic", "admin_log_topic")
EVENT_TOPICS: Final = ("controlbus_queue_topic", "controlbus_sentinel_topic")
# Of our own topics, where there are brokers enough.
REPLICAS: Final = 3
# An event is published inside a transaction of the graph, which must outlast the broker's answer.
TRANSACTIONS_PER_DELIVERY: Final = 3
LABELS_SHOWN: Final = 5
# 5,000 new nodes need 4 s on a small server, and 20,000 may come at once.
TRANSACTION_S: Final = 60.0


def ignore(_: str) -> None:
    """Nobody counts."""


@dataclass(frozen=True)
class Broker:
    """What the flow needs of Kafka; `names` maps a setting to the topic it names.

    `answers` takes all chunks of an answer over the wire at once; `producer` what else is written.
    """

    address: KafkaAddress
    answers: Delivery
    producer: Delivery
    topics: Topics
    events: EventSink
    admin_log: AdminLog
    names: Mapping[str, str]
    partitions: str


def connect_graph(settings: Settings, *, create: bool) -> Neo4jGraph:
    """The graph on its server, with the schema of this release."""
    server = Server(
        settings.neo4j_dsn,
        settings.neo4j_user,
        settings.neo4j_password,
        settings.neo4j_database or None,
        transaction_within_s=max(
            TRANSACTION_S, TRANSACTIONS_PER_DELIVERY * settings.controlbus_delivery_seconds
        ),
    )
    graph = Neo4jGraph(connect(server), server)
    try:
        if foreign := graph.foreign_labels():
            logger.warning(
                "neo4j_dsn: the database at %s holds data of others (%s) and none of ours: is it the right one? "
                "Ours goes beside it, and theirs is not touched",
                server.uri,
                ", ".join(foreign[:LABELS_SHOWN]) + (", …" if len(foreign) > LABELS_SHOWN else ""),
            )
        made = graph.prepare(create=create)
    except BaseException:
        graph.close()
        raise
    if made:
        logger.info("neo4j: made %d constraints and indexes", len(made))
    return graph


def connect_broker(settings: Settings, *, create: bool, dropped: Callable[[str], None] = ignore) -> Broker:
    """Kafka with our topics; the ControlBus may be another cluster, or none. `dropped` hears the channel of
    each event that its topic does not take."""
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
        logger.info("no control events: controlbus_dsn is empty")
        return NoEvents()
    address, names = _controlbus(settings), _named(settings, EVENT_TOPICS)
    _checked(KafkaAdmin(address), names, settings, create=create)
    topic_of = {
        "queue": names["controlbus_queue_topic"],
        "sentinel_weight": names["controlbus_sentinel_topic"],
    }
    return KafkaEvents(KafkaProducer(address), topic_of, dropped)


def make_topics(settings: Settings, *, dry_run: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Our topics that were made (or, in a dry run, are missing), and those that were there."""
    made: list[str] = []
    there: list[str] = []
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
        made += new
        there += [topic for topic in topics if topic not in new]
    return tuple(made), tuple(there)


def open_admin_log(settings: Settings) -> WholeTopic:
    """The admin log as it stands now; `SettingsError` when there is none, or the broker turns us away."""
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
    """What the most careful type of queue asks for."""
    return max(shape.replication_factor for shape in settings.topic_shapes.values())


def _checked(
    admin: KafkaAdmin, names: Mapping[str, str], settings: Settings, *, create: bool
) -> tuple[str, ...]:
    """The topics that were made."""
    verdict = check_topics(admin, own_topics(names, settings.submission_bytes_max), REPLICAS, create)
    short = most_replicas(settings) - verdict.brokers
    if settings.profile == "prod" and short > 0 and set(names) & set(FLOW_TOPICS):
        logger.warning(
            "kafka_dsn: %d brokers are up, and queues ask for %d replicas (topic_shapes): every new node is refused "
            "(topic_refused) until there are %d more",
            verdict.brokers,
            most_replicas(settings),
            short,
        )
    for topic in verdict.created:
        logger.info("kafka: made topic %s", topic)
    for warning in verdict.warnings:
        logger.warning("%s", warning)
    return verdict.created
