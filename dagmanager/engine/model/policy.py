"""Tables and limits that decisions use: topics by type, collection by tag, windows (T-2, G1).

A `Policy` is plain data; settings may replace any table.
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
"""A TTL or grace period without end (as `TopicSpec.retention_ms` < 0)."""

MIN_GRACE_MS: Final = 10 * MINUTE_MS
"""The shortest grace period; no setting goes below it (docs/semantics.md 7)."""


class Collection(msgspec.Struct, frozen=True):
    """One row of the collection table (G1). Only `ttl_ms` has an effect: no collector exists yet.

    `ttl_ms` is how long a queue is kept unreferenced. `action` is `delete` or `archive` (archive, then delete).
    """

    ttl_ms: int
    grace_ms: int
    action: str = "delete"


# T-2: partitions, replication, retention.
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

# docs/semantics.md 4: the first row of which a word is part of the lower-cased node_type; without one, indicator.
# `trade_exec` is first: a node_type with words of both, such as `TradePriceNode`, gets the topic that is kept.
TYPE_WORDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (TRADE_EXEC, ("exec", "trade", "order", "portfolio")),
    (RAW, ("raw", "price", "ohlcv", "stream", "input")),
)


# Tables are tuples of pairs, because a dict in a frozen struct could still be changed.
class Policy(msgspec.Struct, frozen=True):
    """Every number that a decision needs; times in milliseconds.

    - `type_overrides` maps a whole node_type, ignoring case, to a topic type; it goes before `type_words`.
    - `safe_retention_ms`, `safe_mode_max_topics`: how long safe-mode topics live, and how many there may be.
    - `schema_window_ms`: how long consumers buffer after a schema change.
    - `lease_ms`: how long a claim belongs to its owner without a renewal.
    - `last_seen_every_ms`: how often at most a sentinel's `last_seen_ms` is written.
    - `cap_replication`: never ask for more replicas than there are brokers; for development only.
    - `strict_dependencies`: refuse dependencies that neither the DAG nor the graph has.
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
        """The topic type of a node_type (docs/semantics.md 4): by override, else by word, else `indicator`."""
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
        """What to ask of the broker for a topic of this type (T-2); a type without a row is treated as `indicator`.

        `brokers` limits the replicas when `cap_replication` is set; `safe` is for safe-mode topics.
        """
        # Not capped in production: fewer brokers are an outage there, and its topics would keep too few replicas after it.
        table = dict(self.topics)
        spec = table.get(topic_type) or table[INDICATOR]
        replication = min(spec.replication, max(brokers, 1)) if self.cap_replication else spec.replication
        retention_ms = self.safe_retention_ms if safe else spec.retention_ms
        if replication == spec.replication and retention_ms == spec.retention_ms:
            return spec
        return msgspec.structs.replace(spec, replication=replication, retention_ms=retention_ms)

    def queue_tag(self, tags: tuple[str, ...], topic_type: str) -> str:
        """The name of the collection row: the first of the node's tags that is one, else its topic type."""
        for tag in tags:
            for name, _ in self.collections:
                if tag == name:
                    return name
        return topic_type

    def collection(self, tag: str) -> Collection | None:
        """The collection row of this name; None for an unknown one, whose queues are never collected (G1)."""
        for name, row in self.collections:
            if name == tag:
                return row
        return None

    def ttl_ms(self, tag: str) -> int:
        """How long an unreferenced queue is kept; `KEEP_MS` for ever."""
        row = self.collection(tag)
        return KEEP_MS if row is None else row.ttl_ms

    def grace_ms(self, tag: str) -> int:
        """How long collection waits after the TTL: at least `MIN_GRACE_MS`, or `KEEP_MS` for ever."""
        row = self.collection(tag)
        return KEEP_MS if row is None else max(row.grace_ms, MIN_GRACE_MS)


class ClaimOptions(msgspec.Struct, frozen=True):
    """Which process claims, and by which rules.

    `owner` is unique among running processes: leases belong to it. `brokers` is how many the broker's cluster has.
    """

    owner: str
    policy: Policy
    brokers: int = 1
