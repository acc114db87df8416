"""What the graph stores: one frozen row type per noun of docs/semantics.md 1; those of versions are in `version_rows`.

Every row has a `key`; a store keeps at most one row per (type, key). Rows are stored encoded, with the names and the
order of their fields: a field may be added at the end with a default, and never renamed. Times (`..._ms`) are in
milliseconds since the epoch, by the clock of the store, or of the record where the name is `at_ms`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from dagmanager.dag.model import Artifact, TagQuery
from dagmanager.engine.model.version_rows import HolderRow, LineageRow, SentinelRow


class Binding(NamedTuple):
    """Where one node publishes in one namespace ('' = base names).

    `safe` is '' for the shared queue, else the suffix of a safe-mode copy (docs/semantics.md 5).
    """

    node_id: str
    namespace: str
    safe: str = ""


class TagSetKey(NamedTuple):
    """Sorted tags, and the interval in seconds."""

    tags: tuple[str, ...]
    interval: int


class QueueState(StrEnum):
    """Life of a queue (docs/semantics.md 7): provisioning → active → condemned → archived → dropped.

    Condemned, archived and dropped are read and never written: no collector exists yet. Failed: the broker refused
    the topic, or another topic has its name. Lost: the broker no longer has it.
    """

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    CONDEMNED = "condemned"  # not yet
    ARCHIVED = "archived"  # not yet
    DROPPED = "dropped"  # not yet
    FAILED = "failed"
    LOST = "lost"


# A queue in one of these states is a tombstone: no answer names it, and its name is never used again. The binding's
# next queue is a new incarnation under another name (docs/semantics.md 3).
GONE = frozenset(
    {QueueState.CONDEMNED, QueueState.ARCHIVED, QueueState.DROPPED, QueueState.FAILED, QueueState.LOST}
)


class SchemaSeen(NamedTuple):
    """A schema hash and when it was last the node's current one."""

    schema_hash: str
    last_current_ms: int


PARTITIONS_MAX: Final = 8_000  # a controller writes a record for each, at most 10,000 for one request
REPLICAS_MAX: Final = 1_000
RETENTION_MS_MAX: Final = 36_525 * 86_400_000  # 100 years


class TopicSpec(msgspec.Struct, frozen=True):
    """What is asked of the broker for one topic. `retention_ms` < 0: records are kept for ever."""

    partitions: int
    replication: int
    retention_ms: int
    cleanup_policy: str = "delete"

    @property
    def is_possible(self) -> bool:
        """Whether some broker could create it; a client may not even be able to ask for others."""
        counts = 1 <= self.partitions <= PARTITIONS_MAX and 1 <= self.replication <= REPLICAS_MAX
        return counts and self.retention_ms <= RETENTION_MS_MAX


class NodeRow(msgspec.Struct, frozen=True, tag="node"):
    """ComputeNode: what was submitted of a node, and the state of its schema.

    `interval` is in seconds; `period` is how many past intervals it computes from (docs/contract.md, NodeID).
    `base_name` is chosen once, when the node is created. `tags` are the union over the active contents, sorted.
    `schemas` are all schema hashes seen, the current one included; `buffering_since_ms` is set while a changed schema
    makes consumers buffer. `safe_only`: only safe-mode submissions have named the node so far. `base_refused`: the broker
    refused every topic of the node so far. `name` is that of the content that came into force last; `artifacts` and
    `global_` are united over all submissions.
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
    base_refused: bool = False

    @property
    def key(self) -> str:
        """The node id."""
        return self.node_id

    @property
    def is_provisional(self) -> bool:
        """Whether nothing of the row binds a later submission: no shared topic was ever created for the node."""
        return self.safe_only or self.base_refused


class QueueRow(msgspec.Struct, frozen=True, tag="queue"):
    """Queue: one topic. The current queue of a binding is the one with the highest incarnation (from 1).

    `tag` is the name of its collection policy, `ttl_ms` the time it is kept unreferenced (-1: for ever).
    `claim_id`, `owner` and `lease_until_ms` say which claim and which process provision it. `begun` is written before
    the broker is asked to create the topic: a topic of a begun queue may be ours, of any other it is foreign.
    `topic_id` is the broker's. `unreferenced_ms` is None while a sentinel references it. `expires_ms` is set for
    safe-mode copies only. `drift` says in words how the broker's topic differs from `spec`, '' when it does not.
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
    drift: str = ""

    @property
    def key(self) -> str:
        """The topic."""
        return self.topic


class Member(NamedTuple):
    """One node of a content with the fields that do not belong to its id, as submitted."""

    node_id: str
    schema_hash: str
    tags: tuple[str, ...]
    name: str


class ContentRow(msgspec.Struct, frozen=True, tag="content"):
    """DagContent: a set of nodes, written once under its digest, never changed.

    `members` are in the order of the DAG that brought it first. `outside` are the ids that members depend on
    without being members; sorted.
    """

    digest: str
    members: tuple[Member, ...]
    outside: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The content digest."""
        return self.digest


class TagSetRow(msgspec.Struct, frozen=True, tag="tag_set"):
    """TagSet: the revision counter of (tags, interval), shared by match modes and namespaces."""

    key: TagSetKey
    revision: int


class OutcomeRow(msgspec.Struct, frozen=True, tag="outcome"):
    """What a submission decided for one world (docs/semantics.md 2); a replay is answered from it.

    `body` is the encoded `Outcome` or `Rejection`; empty for a plain answer, which a replay decides again. `topics`
    are those that the answer names, sorted: when one is gone, a replay is refused with `expired`.
    """

    claim_id: str
    body: bytes
    topics: tuple[str, ...]
    created_ms: int

    @property
    def key(self) -> str:
        """Submission id and world, joined by `|`."""
        return self.claim_id


class OutboxState(StrEnum):
    """Rows are deleted when their event was published, or outdated by a newer one of its stream: stored rows wait."""

    WAITING = "waiting"
    PUBLISHED = "published"
    OUTDATED = "outdated"


class OutboxRow(msgspec.Struct, frozen=True, tag="outbox"):
    """Outbox: an event that is still to be published.

    Events of one `stream` are published in order of `revision`; an event of the stream '' is outdated by none.
    `channel` is the topic by its purpose (`queue` or `sentinel_weight`); settings map it to a name. `message_key` is
    the Kafka key, `value` the whole envelope as JSON. `event_id` is unique and is the idempotency key.
    """

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
    """A named number: the epoch, holder counters (`moves:...`), revisions (`weights:...`, `published:...`, ...)."""

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
    """The form in which topic names must differ: lower case, `.` as `_` (docs/semantics.md 4).

    Kafka's metric names do not distinguish `.` from `_`, and some tools ignore case.
    """
    return topic.lower().replace(".", "_")
