"""Every Prometheus metric, and the observer that counts into them (docs/requirements.md M6, M7, M8, X2).

The engine knows the `Observer` protocol only. Label cardinality is bounded: labels that clients choose (node types, fields)
count as `other` after the first 100. No command serves the metrics over HTTP yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dagmanager.dag.model import TagQuery
from dagmanager.echo import echoed
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.rows import QueueRow
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.kafka.progress import TopicProgress

logger = logging.getLogger("dagmanager.engine")

TAG_QUERY_TYPE: Final = "TagQueryNode"
LABELS_MAX: Final = 100
# Milliseconds: from a cached DAG to one of 20,000 nodes on a busy machine.
BUCKETS_MS: Final = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 200, 500, 1_000, 5_000)
BUCKETS_QUEUES: Final = (0, 1, 2, 5, 10, 20, 50, 100, 500, 1_000)


class PrometheusObserver(Observer):
    """Counts what the engine reports. Safe between threads; no method blocks or fails."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers every metric; a second observer needs another registry."""
        self.registry = registry
        self._types: set[str] = set()
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self._submissions = counter(
            "dagmanager_submissions", "Answered submissions by status: ok, or the error code.", ["status"]
        )
        self._foreign = counter(
            "dagmanager_foreign_records",
            "Records on the submissions topic that are no submissions; skipped.",
            ["kind"],
        )
        self._mismatch = counter(
            "nodeid_mismatch", "Submitted node ids that differ from the computed ones.", ["node_type"]
        )
        self._tag_mismatch = counter(
            "tagquery_nodeid_mismatch", "Those of nodeid_mismatch that belong to tag queries."
        )
        self._missing = counter(
            "nodeid_missing_fields", "Missing required fields in submissions.", ["field", "node_type"]
        )
        self._checksum = counter("nodeid_checksum_mismatch", "Submissions with a wrong node_ids_crc32.")
        self._drift = counter(
            "nodeid_drift", "Submitted node ids that differ from the computed ones, all types."
        )
        self._recompute = histogram(
            "nodeid_recompute_duration_ms",
            "Milliseconds to compute the node ids of one submission.",
            buckets=BUCKETS_MS,
        )
        self._cross = counter(
            "cross_context_cache_hit", "Submitted compute keys that belong to another context (target 0)."
        )
        self._resolved = histogram(
            "tagquery_resolved_queues",
            "Queues that a submitted tag query resolves to.",
            buckets=BUCKETS_QUEUES,
        )
        self._waiting = Gauge(
            "dagmanager_waiting",
            "Worker threads that are retrying because a store or broker is unreachable, by step.",
            ["step"],
            registry=registry,
        )
        self._lost = counter(
            "dagmanager_lost_topics",
            "Topics of active queues that the broker no longer has: gone, or replaced by another topic.",
            ["why"],
        )
        self._dropped = counter(
            "dagmanager_events_dropped",
            "Control events dropped because they are too large for their topic (target 0).",
            ["channel"],
        )

    def answered(self, status: str) -> None:
        """A submission was answered with `status`: ok, or an error code."""
        self._submissions.labels(status).inc()

    def foreign(self, kind: str) -> None:
        """A record of another kind was skipped."""
        self._foreign.labels(self._bounded(kind)).inc()

    def hashed(self, duration_ms: float) -> None:
        """The node ids of one submission were computed."""
        self._recompute.observe(duration_ms)

    def refused(self, rejection: Rejection) -> None:
        """A submission was refused for its content."""
        if rejection.code is ErrorCode.CRC_MISMATCH:
            self._checksum.inc()
        for each in rejection.counts or ():
            match each.code:
                case ErrorCode.NODE_ID_MISMATCH:
                    self._count_mismatch(each.node_type, each.number)
                case ErrorCode.MISSING_FIELDS:
                    labels = self._bounded(each.field), self._bounded(each.node_type)
                    self._missing.labels(*labels).inc(each.number)
                case ErrorCode.CROSS_CONTEXT:
                    self._cross.inc(each.number)
                case _:
                    pass

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """A submitted tag query resolves to this many queues; logged with its node id (requirements M7)."""
        self._resolved.observe(queues)
        tags = tuple(
            map(echoed, query.tags[:LABELS_MAX])
        )  # a log line must not break, nor grow with a submission
        logger.info(
            "tag query %s (%s of %s) resolved to %d queues",
            node_id,
            query.match_mode,
            ", ".join(tags),
            queues,
            extra={
                "node_id": node_id,
                "tags": tags,
                "match_mode": query.match_mode,
                "queues": queues,
            },
        )

    def lost(self, queue: QueueRow, why: str) -> None:
        """A topic was lost: counted by `why`, and named in the log, since topic names are unbounded."""
        self._lost.labels(why).inc()
        logger.warning(
            "topic %s of node %s in namespace %r is %s at the broker: the next submission of the node creates a new one",
            queue.topic,
            queue.binding.node_id,
            queue.binding.namespace,
            why,
        )

    def event_dropped(self, channel: str) -> None:
        """A control event was too large for its topic."""
        self._dropped.labels(channel).inc()

    def waiting(self, step: str, reason: str) -> None:
        """One worker more is retrying in this step; with an empty `reason`, one less."""
        self._waiting.labels(step).inc(1 if reason else -1)

    def _count_mismatch(self, node_type: str, number: int) -> None:
        self._drift.inc(number)
        self._mismatch.labels(self._bounded(node_type)).inc(number)
        if node_type == TAG_QUERY_TYPE:
            self._tag_mismatch.inc(number)

    def _bounded(self, label: str) -> str:
        if label in self._types or len(self._types) < LABELS_MAX:
            self._types.add(label)
            return label
        return "other"


class ProgressCollector(Collector):
    """How far the submissions topic is read. No offsets are committed to the brokers, so their lag tools show nothing."""

    def __init__(self, progress: Callable[[], TopicProgress]) -> None:
        """To be registered with a registry. `progress` is called at each scrape and must not block."""
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        """Offset and lag per partition, as far as known, and whether the brokers are reachable."""
        now = self._progress()
        lag = GaugeMetricFamily(
            "dagmanager_submissions_lag",
            "Records of the partition that are still to be read.",
            labels=["partition"],
        )
        offset = GaugeMetricFamily(
            "dagmanager_submissions_offset", "Next offset of the partition to be read.", labels=["partition"]
        )
        for each in now.partitions:
            if each.lag is not None:
                lag.add_metric([str(each.partition)], each.lag)
            if each.position is not None:
                offset.add_metric([str(each.partition)], each.position)
        reachable = GaugeMetricFamily(
            "dagmanager_kafka_reachable",
            "1 when the brokers answered the last request, else 0.",
            value=int(now.reachable),
        )
        return [lag, offset, reachable]


class LeakedTopicIdsCollector(Collector):
    """Topic ids whose memory the Kafka client library leaked, where the workaround is off."""

    def __init__(self, leaked: Callable[[], int]) -> None:
        """To be registered with a registry. `leaked` is called at each scrape and must not block."""
        self._leaked = leaked

    def collect(self) -> Iterable[Metric]:
        """One counter."""
        return [
            CounterMetricFamily(
                "dagmanager_kafka_leaked_topic_ids",
                "Topic ids whose memory the Kafka client library leaked, about 100 bytes each (target 0).",
                value=self._leaked(),
            )
        ]
