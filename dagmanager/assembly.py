"""From settings to an engine: the only place that chooses between embedded stores and real servers."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dagmanager.dag.limits import Limits
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.effects.changed_topics import ChangedTopicWatch
from dagmanager.engine.effects.lost_topics import LostTopicWatch
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.admin_log_port import AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.graph_port import Graph
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.policy import MIN_GRACE_MS, TOPICS, ClaimOptions, Collection, Policy
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import FileAdminLog
from dagmanager.topics.events import FileEvents
from dagmanager.topics.memory import MemoryTopics
from dagmanager.topics.sqlite import SqliteTopics

if TYPE_CHECKING:
    from dagmanager.connect import Broker

SECOND_MS = 1000
# Under `results_path`, beside the answers and dead letters.
EVENTS_FILE = "queue-events.jsonl"
ADMIN_LOG_FILE = "admin-log.jsonl"


def now_ms() -> int:
    """The wall clock of this machine, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Assembled:
    """What flow and commands need: the engine, the options for reading submissions, and Kafka if it is used."""

    engine: Engine
    read_options: ReadOptions
    observer: Observer
    broker: Broker | None = None
    # Creating a topic is a request to a broker, so that the flow does it beside its answers.
    slow_topics: bool = False
    # Raises when the graph's server does not answer within so many seconds; None for an embedded graph.
    ping_graph: Callable[[float], None] | None = None

    def reader(self) -> Reader:
        """A new reader with its own caches, for one worker thread."""
        return Reader(self.read_options, self.observer)


def assemble(settings: Settings) -> Assembled:
    """The engine for these settings, over stores and brokers that were checked; profile dev creates missing topics and
    the database schema.

    Blocks for a few requests to each server. Raises `SettingsError` when a server rejects the client or lacks what is
    needed, `UnavailableError` when one is unreachable.
    """
    # Imported here: `diff` uses this module's policy only, and must start fast without metrics and clients.
    from prometheus_client import CollectorRegistry

    from dagmanager.metrics import LeakedTopicIdsCollector, PrometheusObserver

    observer = PrometheusObserver(CollectorRegistry())
    graph, topics = _embedded_stores(settings)
    create = settings.profile == "dev"
    ping_graph = None
    if settings.neo4j_dsn:
        # Importing Neo4j's driver takes 0.1 s: a quarter of the start of a flow on embedded stores.
        from dagmanager.connect import connect_graph, neo4j_server
        from dagmanager.graph.neo4j.ping import ping

        graph, ping_graph = connect_graph(settings, create=create), partial(ping, neo4j_server(settings))
    if settings.kafka_dsn:
        from dagmanager.connect import connect_broker
        from dagmanager.kafka.topic_id_leak_workaround import TOPIC_IDS

        observer.registry.register(LeakedTopicIdsCollector(TOPIC_IDS.leaked))
        broker = connect_broker(settings, create=create, dropped=observer.event_dropped)
        parts = assemble_over(settings, graph, broker.topics, broker.events, broker.admin_log, observer)
        # Only for Kafka: embedded topics cannot be deleted by others behind the engine's back.
        engine = replace(
            parts.engine, lost_topics=LostTopicWatch(time.monotonic), changed_topics=ChangedTopicWatch()
        )
        return replace(parts, engine=engine, broker=broker, slow_topics=True, ping_graph=ping_graph)
    results = Path(settings.results_path)
    events, admin_log = FileEvents(results / EVENTS_FILE), FileAdminLog(results / ADMIN_LOG_FILE)
    return replace(assemble_over(settings, graph, topics, events, admin_log, observer), ping_graph=ping_graph)


def assemble_over(
    settings: Settings,
    graph: Graph,
    topics: Topics,
    events: EventSink,
    admin_log: AdminLog,
    observer: Observer | None = None,
) -> Assembled:
    """The same engine over the given stores: what `assemble` ends with, and the way in for tests, demos and `diff`.

    Checks no server and creates nothing; asks `topics` for its number of brokers. Without `observer` nothing is counted.
    """
    owner = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    options = ClaimOptions(owner, policy_of(settings), topics.brokers())
    observer = observer or Observer()
    engine = Engine(graph, topics, events, admin_log, options, time.sleep, observer=observer)
    return Assembled(engine, read_options_of(settings), observer)


def read_options_of(settings: Settings) -> ReadOptions:
    """Limits and options for reading submissions."""
    return ReadOptions(
        limits=Limits(
            bytes_max=settings.submission_bytes_max,
            nodes_max=settings.submission_nodes_max,
            depth_max=settings.submission_depth_max,
        ),
        namespaces=settings.enable_topic_namespace,
        lineage_fields=settings.lineage_fields,
        dry_run_ids=frozenset(settings.dry_run_strategy_ids),
    )


def policy_of(settings: Settings) -> Policy:
    """The settings that decisions depend on."""
    shapes: dict[str, TopicSpec] = {
        name: TopicSpec(shape.partitions, shape.replication_factor, shape.retention_seconds * SECOND_MS)
        for name, shape in settings.topic_shapes.items()
    }
    collections = tuple(
        (tag, Collection(row.ttl_seconds * SECOND_MS, max(row.grace_seconds * SECOND_MS, MIN_GRACE_MS)))
        for tag, row in settings.gc_policies.items()
        if row is not None
    )
    return msgspec.structs.replace(
        Policy(),
        topics=tuple({**dict(TOPICS), **shapes}.items()),
        collections=collections,
        type_overrides=tuple(sorted(settings.topic_type_overrides.items())),
        safe_mode_max_topics=settings.safe_mode_max_topics,
        lease_ms=int(settings.claim_lease_seconds * SECOND_MS),
        strict_dependencies=settings.strict_dependencies,
        cap_replication=settings.profile == "dev",
    )


def _embedded_stores(settings: Settings) -> tuple[Graph, Topics]:
    if settings.memory_repo_path:
        path = Path(settings.memory_repo_path)
        with translated_os_errors(path, "used as memory_repo_path"):
            path.parent.mkdir(parents=True, exist_ok=True)
        file = SqliteFile(path)
        return SqliteGraph(file, now_ms), SqliteTopics(file)
    return MemoryGraph(now_ms), MemoryTopics()
