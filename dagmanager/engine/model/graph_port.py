"""The graph as the engine sees it: readers and writers are different types.

A dry run holds a `GraphReader` and so cannot write. A store keeps rows and answers the few questions that
need an index. Implementations raise `UnavailableError` when the store is unreachable and `ConstraintError`
when a unique value is taken; `transact` retries the latter itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from dagmanager.engine.model.rows import (
    Binding,
    ContentRow,
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    Row,
    SentinelKey,
    SentinelRow,
    TagSetKey,
)

T = TypeVar("T")

# How often `transact` runs its work again because a rival took a unique value. More is a defect, not a race.
CONSTRAINT_TRIES: Final = 8


class LookupKeys(msgspec.Struct, frozen=True):
    """Everything one micro-batch of submissions wants to know, for one query (F3)."""

    bindings: frozenset[Binding] = frozenset()
    lineages: frozenset[LineageKey] = frozenset()
    holders: frozenset[HolderKey] = frozenset()
    outcomes: frozenset[str] = frozenset()


class Known(msgspec.Struct, frozen=True):
    """The answer to `LookupKeys`: rows that exist.

    `queues` maps a binding to its queue of the highest incarnation; `nodes` covers every node id of
    the bindings; `sentinels` lists all of a lineage's, by (version, revision); `outcome_queues` the
    queues that stored outcomes name, by topic; `safe_topics` how many safe-mode topics live, counted
    only where a safe-mode binding was asked for.
    """

    nodes: Mapping[str, NodeRow]
    queues: Mapping[Binding, QueueRow]
    lineages: Mapping[LineageKey, LineageRow]
    sentinels: Mapping[LineageKey, tuple[SentinelRow, ...]]
    holders: Mapping[HolderKey, HolderRow]
    outcomes: Mapping[str, OutcomeRow]
    outcome_queues: Mapping[str, QueueRow]
    epoch: int
    safe_topics: int
    now_ms: int


class EpochReading(msgspec.Struct, frozen=True):
    """The epoch, the counters asked for, and the store's clock, as committed when they were read."""

    epoch: int
    counters: Mapping[str, int]
    now_ms: int


class HolderInsert(msgspec.Struct, frozen=True):
    """A strategy id that asks for a version in force, decided from what the graph was at a moment.

    `holder` and `outcome` are new; `at_ms` is the record's time, for the lineage's clock. It was decided
    at this `epoch` from these `sentinels`, all of the lineage's in the order of `Known`.
    """

    lineage: LineageKey
    sentinels: tuple[SentinelRow, ...]
    epoch: int
    at_ms: int
    holder: HolderRow
    outcome: OutcomeRow


class Locks(msgspec.Struct, frozen=True):
    """What a transaction locks before it reads, always in this order, each sorted (docs/semantics.md 6).

    `nodes` covers a node's row, its queues in every namespace, and whether anything references them:
    a version change locks every node that its contents hold and what these depend on. `tags` are
    single (tag, interval) pairs: whoever registers a tag query and whoever changes a node's tags
    must not miss each other.
    """

    lineages: tuple[LineageKey, ...] = ()
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    tag_sets: tuple[TagSetKey, ...] = ()
    epoch: bool = False
    publisher: bool = False


class TaggedQueue(msgspec.Struct, frozen=True):
    """A queue behind a tag set: an active, shared queue of a node that is no tag query."""

    topic: str
    global_: bool
    tags: tuple[str, ...]


class GraphReader(Protocol):
    """Reads only. Each call blocks for one round trip; raises `UnavailableError` when the store is unreachable."""

    def known(self, keys: LookupKeys) -> Known:
        """One batched, index-backed read. The embedded graphs give a snapshot; a server gives each row as
        committed, and only rows under this transaction's locks are stable (docs/contributing/real-servers.md)."""
        ...

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic; `match_mode` any|all.

        Empty `tags` match nothing. A tag query's own queue and safe-mode queues are never results.
        """
        ...


class TagQuestion(msgspec.Struct, frozen=True):
    """A tag query as `GraphReader.tagged` takes it."""

    tags: tuple[str, ...]
    interval: int
    match_mode: str
    namespace: str


class NodeUsage(msgspec.Struct, frozen=True):
    """A node, which of the tags that were asked about are `still_assigned` (a content that an active sentinel is of gives
    it the tag), and its current (highest incarnation) `queues` in every namespace, by binding, safe ones
    excluded."""

    node: NodeRow
    still_assigned: frozenset[str]
    queues: tuple[QueueRow, ...]


class TakenName(msgspec.Struct, frozen=True):
    """Folded names that are not free."""

    topics: frozenset[str] = frozenset()
    base_names: frozenset[str] = frozenset()


class OpenClaim(msgspec.Struct, frozen=True):
    """What of a claim is not active yet: provisioning `queues` by topic, pending `sentinels` by key, and beside
    them all `versions` of their lineages."""

    queues: tuple[QueueRow, ...] = ()
    sentinels: tuple[SentinelRow, ...] = ()
    versions: Mapping[LineageKey, tuple[SentinelRow, ...]] = {}


class Transaction(GraphReader, Protocol):
    """One atomic piece of work: sees its own writes; all of it is committed, or nothing.

    A call blocks for at most one round trip, and for as long as others hold the locks it asks for. Any call raises
    `UnavailableError` when the store is unreachable, and `ConstraintError` when a row breaks a unique constraint;
    both end the transaction.
    """

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        """`tagged` for several at once, in the order given."""
        ...

    def now_ms(self) -> int:
        """The store's clock, one value for the whole transaction."""
        ...

    def lock(self, locks: Locks) -> None:
        """Lock before reading: what is asked from now on is answered under these. Later calls may only
        name later kinds, or larger keys of the same kind."""
        ...

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        """Contents by digest."""
        ...

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        """Which of these folded topic names any queue row has or ever had (tombstones included), and which of
        these folded base names belong to a node."""
        ...

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Which of these are in, or a dependency in, a referencing sentinel's content (docs/semantics.md 7).

        Asked under the locks of these nodes; so are `places`.
        """
        ...

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether any pending, active or parked sentinel of the namespace is of this content."""
        ...

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        """What is to be known of these nodes when their tags or queues change, in one reading; by id.

        Beside each node the tags that may be its no longer: a tag that nothing keeps costs a look at every
        content that ever had the node, so ask for no others.
        """
        ...

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """Registered tag queries (in an active content) that name any of these tags in its interval;
        by node id."""
        ...

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        """The current revision of each of these, 0 when the set is new."""
        ...

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        """Node rows by id."""
        ...

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        """Queue rows by topic."""
        ...

    def claims(self, claim_id: str) -> OpenClaim:
        """What is provisioning and pending under this claim id."""
        ...

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        """Who holds this sentinel."""
        ...

    def put(self, rows: Sequence[Row]) -> None:
        """Insert or replace by key; `ConstraintError` if a queue's folded topic or a node's folded
        base name belongs to another row, or a topic to another binding, at a later question or the
        end at the latest."""
        ...

    def delete(self, rows: Sequence[Row]) -> None:
        """Remove rows by key; absent ones are fine. Queue rows are never removed (tombstones)."""
        ...

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, by (created_ms, stream, revision); at most `limit`."""
        ...

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        """The value of each of these counters, 0 when new."""
        ...

    def raise_epoch(self) -> int:
        """Add one to the epoch (docs/semantics.md 7) and return it."""
        ...


class Graph(GraphReader, Protocol):
    """The store of nodes, queues, versions and outcomes: the single source of truth (R1).

    Each call blocks for its round trips, `transact` also for locks. All raise `UnavailableError` when the store is
    unreachable; a caller may then call again.
    """

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically; it may run more than once (rivals, lost leader), so it must be pure
        but for the transaction."""
        ...

    def epoch(self) -> int:
        """The current epoch."""
        ...

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """The epoch and these counters in one small read."""
        ...

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Get ready for what submissions ask, changing nothing; stops early once there is `enough`."""
        ...

    def add_holder(self, insert: HolderInsert) -> bool:
        """Write its rows if all that it was decided from is as it says; False: nothing was written."""
        ...

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, by (created_ms, stream, revision); at most `limit`."""
        ...

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """Claim ids whose lease is over by the store's clock, oldest first."""
        ...

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """Queues in every state whose topic comes after this one, by topic; at most `limit`."""
        ...
