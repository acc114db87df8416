"""The numbers of the design: topics by type, collection by tag, windows and limits (T-2, G1).

A `Policy` is plain data; settings may replace any table. Nothing here decides when to act.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.engine.model.rows import TopicSpec

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000

RAW: Final = "raw"
INDICATOR: Final = "indicator"
TRADE_EXEC: Final = "trade_exec"
SENTINEL: Final = "sentinel"

KEEP_MS: Final = -1
"""A TTL or grace that never ends (as `TopicSpec.retention_ms` < 0)."""

MIN_GRACE_MS: Final = 10 * MINUTE_MS
"""No queue is condemned sooner; no setting overrides it (docs/semantics.md 7)."""


class Collection(msgspec.Struct, frozen=True):
    """When queues of one tag are collected (docs/requirements.md G1). Only `ttl_ms` has an effect: no collector exists yet.

    `action` is `delete` or `archive` (archive, then delete).
    """

    ttl_ms: int
    grace_ms: int
    action: str = "delete"


# T-2: partitions, replication, retention. "none" and "delete" alike mean no compaction: Kafka's `delete`.
TOPICS: Final[tuple[tuple[str, TopicSpec], ...]] = (
    (RAW, TopicSpec(3, 3, 7 * DAY_MS)),
    (INDICATOR, TopicSpec(1, 2, 30 * DAY_MS)),
    (TRADE_EXEC, TopicSpec(1, 3, 90 * DAY_MS)),
)

# G1: trade_exec has no row, so it is kept (docs/semantics.md 7).
COLLECTIONS: Final[tuple[tuple[str, Collection], ...]] = (
    (RAW, Collection(7 * DAY_MS, 1 * DAY_MS)),
    (INDICATOR, Collection(30 * DAY_MS, 3 * DAY_MS)),
    (SENTINEL, Collection(180 * DAY_MS, 30 * DAY_MS, "archive")),
)

# docs/semantics.md 4: the first row with a substring of the lower-cased node_type; none → indicator.
TYPE_WORDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (TRADE_EXEC, ("exec", "trade", "order", "portfolio")),
    (RAW, ("raw", "price", "ohlcv", "stream", "input")),
)


class Policy(msgspec.Struct, frozen=True):
    """Every number a decision needs; the defaults are the design's.

    `type_overrides` maps a whole node_type (case-blind) to a topic type and wins over the words.
    `strict_dependencies` refuses dependencies that neither the DAG nor the graph has.
    `cap_replication` is for dev: never ask for more replicas than there are brokers (never in prod).
    """

    topics: tuple[tuple[str, TopicSpec], ...] = TOPICS
    collections: tuple[tuple[str, Collection], ...] = COLLECTIONS
    type_words: tuple[tuple[str, tuple[str, ...]], ...] = TYPE_WORDS
    type_overrides: tuple[tuple[str, str], ...] = ()
    safe_retention_ms: int = DAY_MS
    safe_mode_max_topics: int = 2_000
    schema_window_ms: int = 7 * DAY_MS
    lease_ms: int = 10_000
    last_seen_every_ms: int = DAY_MS
    cap_replication: bool = False
    strict_dependencies: bool = False

    def topic_type(self, node_type: str) -> str:
        """The topic type of a node (docs/semantics.md 4): override table, then words, else indicator."""
        folded = node_type.lower()
        for name, topic_type in self.type_overrides:
            if name.lower() == folded:
                return topic_type
        for topic_type, words in self.type_words:
            for word in words:
                if word in folded:
                    return topic_type
        return INDICATOR

    def topic_spec(self, topic_type: str, brokers: int, safe: bool = False) -> TopicSpec:
        """What to ask of the broker for a topic of this type (T-2); `safe` keeps one day (docs/semantics.md 5).

        A type without a row is asked for as an indicator.
        """
        table = dict(self.topics)
        spec = table.get(topic_type) or table[INDICATOR]
        replication = min(spec.replication, max(brokers, 1)) if self.cap_replication else spec.replication
        retention_ms = self.safe_retention_ms if safe else spec.retention_ms
        if replication == spec.replication and retention_ms == spec.retention_ms:
            return spec
        return msgspec.structs.replace(spec, replication=replication, retention_ms=retention_ms)

    def queue_tag(self, tags: tuple[str, ...], topic_type: str) -> str:
        """The collection policy's name: the first one among the node's tags, else its topic type."""
        for tag in tags:
            for name, _ in self.collections:
                if tag == name:
                    return name
        return topic_type

    def collection(self, tag: str) -> Collection | None:
        """The collection row of a tag; None leaves the queue alone (G1: unknown tags)."""
        for name, row in self.collections:
            if name == tag:
                return row
        return None

    def ttl_ms(self, tag: str) -> int:
        """How long an unreferenced queue of this tag lives; `KEEP_MS` for ever."""
        row = self.collection(tag)
        return KEEP_MS if row is None else row.ttl_ms

    def grace_ms(self, tag: str) -> int:
        """What is added to the TTL before collection; never below `MIN_GRACE_MS`, `KEEP_MS` for ever."""
        row = self.collection(tag)
        return KEEP_MS if row is None else max(row.grace_ms, MIN_GRACE_MS)
