"""The port for the graph store. Readers and writers are different types: a dry run holds a `GraphReader`.

A store keeps rows and answers the few questions that need an index; it decides nothing. Every call blocks.
Every call may raise `UnavailableError` (the store is unreachable, or too busy for its time limit: call again) and
`StoreRefusedError` (the store refuses this statement: a retry is useless). `Graph.transact` may also raise
`StoreMemoryError` (the store has no memory for so large a transaction, after several tries).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from dagmanager.engine.model.rows import (
    Binding,
    ContentRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    Row,
    TagSetKey,
)
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
)

T = TypeVar("T")

# How often `transact` repeats its work because a rival took a unique value. One repetition settles a race, since the
# work then sees what the rival wrote; more than a few mean a defect.
CONSTRAINT_TRIES: Final = 8


class LookupKeys(msgspec.Struct, frozen=True):
    """The keys of everything that a micro-batch of submissions needs, for one query (F3).

    `nodes` are ids of which the node is wanted without a queue.
    """

    bindings: frozenset[Binding] = frozenset()
    lineages: frozenset[LineageKey] = frozenset()
    holders: frozenset[HolderKey] = frozenset()
    outcomes: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    # Sets, because the submissions of a micro-batch often share their nodes: each is asked for once.


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The rows found for `LookupKeys`; absent rows are left out.

    `nodes` has every node id of the bindings and of `LookupKeys.nodes`, `queues` the queue of the highest incarnation of
    each binding.
    `sentinels` has all of each lineage, by (version, revision). `outcome_queues` are the queues that the stored
    outcomes name, by topic. `safe_topics` counts the safe-mode topics in existence; it is 0 when no safe-mode
    binding was asked for. `now_ms` is the store's clock in milliseconds since the epoch.
    """

    nodes: Mapping[str, NodeRow]
    queues: Mapping[Binding, QueueRow]
    lineages: Mapping[LineageKey, LineageRow] = {}
    sentinels: Mapping[LineageKey, tuple[SentinelRow, ...]] = {}
    holders: Mapping[HolderKey, HolderRow] = {}
    outcomes: Mapping[str, OutcomeRow] = {}
    outcome_queues: Mapping[str, QueueRow] = {}
    epoch: int
    safe_topics: int = 0
    now_ms: int


class EpochReading(msgspec.Struct, frozen=True):
    """The epoch, some counters, and the store's clock, as committed when they were read.

    The epoch counts the writes that change an answer already given (docs/semantics.md 7).
    """

    epoch: int
    counters: Mapping[str, int]
    now_ms: int


class HolderInsert(msgspec.Struct, frozen=True):
    """Compare-and-set insert of a holder of a version in force.

    Applied only if neither holder nor outcome exists, the epoch is still `epoch`, and the lineage's sentinels are
    still exactly `sentinels`, in the order of `Known`. `lineage` has the record's place: the lineage's clock takes it if it is newer.
    """

    lineage: LineageRow
    # Whole rows, not a number: any other weight or state of any version could give another answer.
    sentinels: tuple[SentinelRow, ...]
    epoch: int
    holder: HolderRow
    outcome: OutcomeRow


class Locks(msgspec.Struct, frozen=True):
    """What a transaction locks. One lock order prevents deadlocks: the fields in this order, each sorted
    (docs/semantics.md 6).

    - `lineages`: the versions, holders and clock of a lineage.
    - `nodes`: a node's row, its queues in every namespace, and whether a content references them.
    - `names`: folded topic names that are about to be used for the first time.
    - `counters`: named counters, but for the epoch.
    - `tags`: (tag, interval in seconds). Locked by a transaction that registers a tag query, and by one that changes the tags or queues of a
      node, so that of two such changes at once the later one sees the earlier.
    - `tag_sets`: revision counters of tag sets.
    - `epoch`: the epoch counter.
    - `publisher`: the right to publish the outbox.
    """

    # The order is that in which a claim learns what it needs: the lineage says which nodes a change touches, the nodes say
    # which names, counters and tags. What most transactions share comes last, because all others wait for it until the
    # commit: the epoch, and the right to publish.
    lineages: tuple[LineageKey, ...] = ()
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    tag_sets: tuple[TagSetKey, ...] = ()
    epoch: bool = False
    publisher: bool = False


class TaggedQueue(msgspec.Struct, frozen=True):
    """One result of a tag query: an active, shared queue of a node that is itself no tag query."""

    topic: str
    global_: bool
    tags: tuple[str, ...]


class GraphReader(Protocol):
    """Reads only. Each call blocks for one round trip; raises `UnavailableError` when the store is unreachable."""

    def known(self, keys: LookupKeys) -> Known:
        """The rows of these keys, in one batched read over indexes.

        An embedded store answers with a snapshot. A server answers with each row as committed when it was read:
        rows may be of different moments, unless this transaction locked them (docs/operating/neo4j.md).
        """
        ...

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic.

        `interval` is in seconds; `match_mode` is `any` or `all`, else `ValueError`. Empty `tags` match nothing.
        """
        ...


class TagQuestion(msgspec.Struct, frozen=True):
    """The arguments of `GraphReader.tagged`."""

    tags: tuple[str, ...]
    interval: int
    match_mode: str
    namespace: str


class NodeUsage(msgspec.Struct, frozen=True):
    """A node, the candidate tags that an active version still assigns to it, and its current shared queues in every
    namespace, by binding."""

    node: NodeRow
    still_assigned: frozenset[str]
    queues: tuple[QueueRow, ...]


class TakenName(msgspec.Struct, frozen=True):
    """Folded topic names and base names that are not free."""

    topics: frozenset[str] = frozenset()
    base_names: frozenset[str] = frozenset()


class OpenClaim(msgspec.Struct, frozen=True):
    """What is unfinished of a claim: its provisioning `queues` by topic, its pending `sentinels` by key, and all
    `versions` of the lineages of these sentinels."""

    queues: tuple[QueueRow, ...] = ()
    sentinels: tuple[SentinelRow, ...] = ()
    # In the same read as the claim: which nodes to lock follows from all versions of these lineages.
    versions: Mapping[LineageKey, tuple[SentinelRow, ...]] = {}


class Transaction(GraphReader, Protocol):
    """One atomic unit of work, which reads its own writes. Committed by `Graph.transact`, or undone as a whole.

    A call blocks for at most one round trip, and while others hold the locks that it asks for. Each may raise
    `UnavailableError` or `ConstraintError`; let them pass, `Graph.transact` handles them.
    """

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        """`tagged` for several questions in one query; the answers in the order of the questions."""
        ...

    def now_ms(self) -> int:
        """The store's clock in milliseconds since the epoch; never older than the last lock that was waited for."""
        ...

    def lock(self, locks: Locks) -> None:
        """Lock before reading: reads from here on see what was committed before the locks were granted.

        A later call may name only later kinds, or larger keys of the same kind; others may deadlock. Blocks until
        other transactions release the locks. Repeating a lock is free.
        """
        ...

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        """Contents by digest; absent ones are left out."""
        ...

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        """Which of these folded names are used: topics of any queue row, tombstones included; base names of nodes."""
        ...

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Those of these nodes that a referencing sentinel of the namespace has in its content, as a member or as a
        dependency of one (docs/semantics.md 7). The nodes must be locked."""
        ...

    def dependents(self, node_ids: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """The nodes that depend on each of these nodes directly; nodes without any are left out."""
        ...

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether a pending, active or parked sentinel of the namespace is of this content."""
        ...

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        """The usage of these nodes by id, in one query; absent nodes are left out. The nodes must be locked.

        The value of each node are candidate tags, of which `still_assigned` is a subset. Each one may cost a scan of
        every content that ever had the node, so name only tags whose assignment may have ended.
        """
        ...

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """The tag queries of active contents that name any of these (tag, interval in seconds); by node id."""
        ...

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        """The current revision of each of these tag sets; 0 for a new one."""
        ...

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        """Node rows by id; absent ones are left out."""
        ...

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        """Queue rows by topic; absent ones are left out."""
        ...

    def open_claim(self, claim_id: str) -> OpenClaim:
        """What is unfinished of this claim; empty when it is finished or never existed."""
        ...

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        """The holders of this sentinel."""
        ...

    def put(self, rows: Sequence[Row]) -> None:
        """Insert or replace rows by key.

        `ConstraintError` when a queue's folded topic or a node's folded base name belongs to another row, or a topic to
        another binding. Writes may be buffered: the error comes with a later read or with the commit at the latest.
        """
        ...

    # A removed queue row would set its name free, and old records under that name could be read as those of a new queue.
    def delete(self, rows: Sequence[Row]) -> None:
        """Remove rows by key; absent ones are ignored. Queue rows are never removed: they keep their names taken."""
        ...

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows, by (created_ms, stream, revision)."""
        ...

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        """The value of each of these counters; 0 for a new one."""
        ...

    def raise_epoch(self) -> int:
        """Add one to the epoch and return it (docs/semantics.md 7); locks it until the commit."""
        ...


class Graph(GraphReader, Protocol):
    """A graph store as one process sees it. Safe between threads.

    Each call blocks for its round trips, and raises `UnavailableError` when the store is unreachable.
    """

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction; its result after the commit.

        `work` runs again from the start when a rival took a unique value (`CONSTRAINT_TRIES` times, then
        `ConstraintError`), in a deadlock, or when the leader of a cluster changes; so it must have no other effects. What
        `work` raises undoes the transaction and is raised here. `UnavailableError` does not say whether the
        transaction was committed: the connection may break just then.
        """
        ...

    def epoch(self) -> int:
        """The current epoch."""
        ...

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """The epoch, these counters (0 for a new one) and the clock, in one small read."""
        ...

    # Otherwise the first submissions after a start would take seconds: a server plans each statement once.
    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Fill the caches of the store with what submissions read; writes nothing.

        May take minutes on a large graph; stops early once `enough()` is true.
        """
        ...

    # Beside `transact`, because it is the most frequent write: a server does it in one statement and one round trip.
    def add_holder(self, insert: HolderInsert) -> bool:
        """Apply a compare-and-set insert in one transaction; False when it does not apply, and nothing was written.

        Not idempotent: a repeat answers False, because the holder exists by then. The caller then decides again.
        """
        ...

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows, by (created_ms, stream, revision)."""
        ...

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """At most `limit` ids of unfinished claims whose lease has ended by the store's clock, oldest first."""
        ...

    # Pages begin after a topic, not at a number: rows that are added between two pages would shift the numbers.
    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """A page of all queues in every state: at most `limit` with a larger topic, by topic."""
        ...
