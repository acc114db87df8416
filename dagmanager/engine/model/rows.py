"""What the graph holds: one frozen row type per noun of docs/semantics.md 1, and nothing that decides.

Every row has a `key`; a store keeps at most one row per (type, key). Times are milliseconds since
the epoch, by the clock of the store unless a name says `at_ms` (record time).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from dagmanager.dag.model import Artifact, TagQuery


class Binding(NamedTuple):
    """Where one node publishes in one namespace; `safe` tells safe-mode copies apart ('' = shared)."""

    node_id: str
    namespace: str
    safe: str = ""


class LineageKey(NamedTuple):
    """One strategy's line of versions in one namespace (docs/semantics.md 6)."""

    lineage: str
    namespace: str


class SentinelKey(NamedTuple):
    """Identity of a VersionSentinel (docs/semantics.md 1)."""

    lineage: str
    namespace: str
    version: str
    revision: int


class HolderKey(NamedTuple):
    """Who was told, in which namespace."""

    strategy_id: str
    namespace: str


class TagSetKey(NamedTuple):
    """Sorted tags and interval in seconds."""

    tags: tuple[str, ...]
    interval: int


class QueueState(StrEnum):
    """Life of a queue (docs/semantics.md 7): provisioning → active → condemned → archived → dropped.

    The states of the collector are read and never written: there is no collector yet.
    """

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    CONDEMNED = "condemned"  # not yet
    ARCHIVED = "archived"  # not yet
    DROPPED = "dropped"  # not yet
    FAILED = "failed"
    LOST = "lost"


# A queue in one of these answers nobody any more: its next life has another name (docs/semantics.md 3).
GONE = frozenset(
    {QueueState.CONDEMNED, QueueState.ARCHIVED, QueueState.DROPPED, QueueState.FAILED, QueueState.LOST}
)


class SentinelState(StrEnum):
    """Life of a sentinel (docs/semantics.md 6). The states marked "not yet" are read and never written."""

    PENDING = "pending"
    ACTIVE = "active"
    PARKED = "parked"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"  # not yet
    RELEASED = "released"
    EXPIRED = "expired"  # not yet
    ARCHIVED = "archived"  # not yet


REFERENCING = frozenset({SentinelState.PENDING, SentinelState.ACTIVE, SentinelState.PARKED})


class SchemaSeen(NamedTuple):
    """A schema hash and when it was last the node's current one."""

    schema_hash: str
    last_current_ms: int


class TopicSpec(msgspec.Struct, frozen=True):
    """What is asked of the broker. `retention_ms` < 0 keeps for ever."""

    partitions: int
    replication: int
    retention_ms: int
    cleanup_policy: str = "delete"


class NodeRow(msgspec.Struct, frozen=True, tag="node"):
    """ComputeNode. `tags` = the union over the active contents; `base_name` is chosen once.

    `schemas` are those seen, the current one included; `safe_only` means known only from safe mode.
    """

    node_id: str
    node_type: str
    interval: int
    period: int
    params_canon: str
    dependencies: tuple[str, ...]
    schema_compat_id: str
    code_hash: str
    created_ms: int
    base_name: str
    topic_type: str
    schema_hash: str = ""
    schemas: tuple[SchemaSeen, ...] = ()
    buffering_since_ms: int | None = None
    tags: tuple[str, ...] = ()
    name: str = ""
    global_: bool = False
    tag_query: TagQuery | None = None
    artifacts: tuple[Artifact, ...] = ()
    safe_only: bool = False

    @property
    def key(self) -> str:
        """The node id."""
        return self.node_id


class QueueRow(msgspec.Struct, frozen=True, tag="queue"):
    """Queue: one topic. The current queue of a binding is the one with the highest incarnation.

    `claim_id`, `owner` and `lease_until_ms` say who provisions it; `begun` that the broker was or may
    have been asked to create it (written before the request). `unreferenced_ms` is None while it is
    referenced. `tag` is the name of its retention policy.
    """

    topic: str
    binding: Binding
    state: QueueState
    incarnation: int
    spec: TopicSpec
    tag: str
    ttl_ms: int
    created_ms: int
    claim_id: str = ""
    owner: str = ""
    lease_until_ms: int = 0
    begun: bool = False
    topic_id: str = ""
    unreferenced_ms: int | None = None
    expires_ms: int | None = None
    world_id: str = ""
    execution_domain: str = ""

    @property
    def key(self) -> str:
        """The topic."""
        return self.topic


class Member(NamedTuple):
    """One node of a content, as it was submitted."""

    node_id: str
    schema_hash: str
    tags: tuple[str, ...]
    name: str


class ContentRow(msgspec.Struct, frozen=True, tag="content"):
    """DagContent: a set of nodes, written once, in the order of the DAG that brought it first.

    `outside` are the ids that members depend on and that are no members; sorted.
    """

    digest: str
    members: tuple[Member, ...]
    outside: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The content digest."""
        return self.digest


class VersionTransition(msgspec.Struct, frozen=True):
    """What becomes of the lineage when a pending sentinel is activated.

    `weight` is its own; `supersedes` leave; `weights` are set on others that stay active.
    """

    state: SentinelState
    weight: float
    supersedes: tuple[SentinelKey, ...] = ()
    weights: tuple[tuple[SentinelKey, float], ...] = ()


class SentinelRow(msgspec.Struct, frozen=True, tag="sentinel"):
    """VersionSentinel. `takeover` is set while pending; `weight_asked` is what a submission last sent.

    `introduced` are the nodes it brought (`HAS`, F5); `sentinel_id` the id that the client who
    brought it saw; `weight_revision` counts its announced weights; `waits` are
    topics that it joined while rivals were provisioning them: it is in force only once they are up.
    """

    key: SentinelKey
    content: str
    state: SentinelState
    weight: float
    commit_hash: str
    created_ms: int
    world_id: str = ""
    execution_domain: str = ""
    weight_asked: float | None = None
    introduced: tuple[str, ...] = ()
    claim_id: str = ""
    owner: str = ""
    lease_until_ms: int = 0
    takeover: VersionTransition | None = None
    last_seen_ms: int = 0
    sentinel_id: str = ""
    weight_revision: int = 0
    waits: tuple[str, ...] = ()


class LineageRow(msgspec.Struct, frozen=True, tag="lineage"):
    """The lock and the clock of one lineage: `last_at_ms` is the newest record time applied."""

    key: LineageKey
    last_at_ms: int


class PastSubmission(NamedTuple):
    """What a strategy id held before, and the place in record order at which it sent something else."""

    submission_digest: str
    until_ms: int
    until_position: int


class HolderRow(msgspec.Struct, frozen=True, tag="holder"):
    """Holder: which sentinel a strategy id was told, and what it last sent.

    `previous` tells a replayed resend from a new command after the holder moved on; newest last, bounded.
    """

    key: HolderKey
    sentinel: SentinelKey
    submission_digest: str
    weight_sent: float | None
    last_seen_ms: int
    previous: tuple[PastSubmission, ...] = ()


class TagSetRow(msgspec.Struct, frozen=True, tag="tag_set"):
    """TagSet: the revision counter of (tags, interval), shared by match modes and namespaces."""

    key: TagSetKey
    revision: int


class OutcomeRow(msgspec.Struct, frozen=True, tag="outcome"):
    """What a submission decided for one world, byte for byte (docs/semantics.md 2).

    `body` is the encoded `Outcome` or `Rejection`; `topics` are checked on replay (`expired`).
    """

    claim_id: str
    body: bytes
    topics: tuple[str, ...]
    created_ms: int

    @property
    def key(self) -> str:
        """Submission id and world."""
        return self.claim_id


class OutboxState(StrEnum):
    """An event is published, or outdated by a newer one of its stream that was published first."""

    WAITING = "waiting"
    PUBLISHED = "published"
    OUTDATED = "outdated"


class OutboxRow(msgspec.Struct, frozen=True, tag="outbox"):
    """An event still to be published: `stream` orders by `revision`; `value` is the whole envelope."""

    event_id: str
    stream: str
    revision: int
    channel: str
    message_key: str
    value: bytes
    state: OutboxState
    created_ms: int

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.event_id


# The counter of `Graph.epoch` (docs/semantics.md 7).
EPOCH_COUNTER: Final = "epoch"


class CounterRow(msgspec.Struct, frozen=True, tag="counter"):
    """A named number: `epoch`."""

    name: str
    value: int

    @property
    def key(self) -> str:
        """The counter's name."""
        return self.name


Row = (
    NodeRow
    | QueueRow
    | ContentRow
    | SentinelRow
    | LineageRow
    | HolderRow
    | TagSetRow
    | OutcomeRow
    | OutboxRow
    | CounterRow
)

RowKey = Any


def fold(topic: str) -> str:
    """A topic name as brokers and metric names may confuse it: case-blind, `.` as `_` (docs/semantics.md 4)."""
    return topic.lower().replace(".", "_")
