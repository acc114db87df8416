"""One transaction on a row store: what both embedded graphs pass to `work`, and how one try ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from dagmanager.engine.model.graph_port import (
    CONSTRAINT_TRIES,
    Known,
    Locks,
    LookupKeys,
    NodeUsage,
    OpenClaim,
    TaggedQueue,
    TagQuestion,
    TakenName,
    Transaction,
)
from dagmanager.engine.model.rows import (
    EPOCH_COUNTER,
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    QueueRow,
    Row,
    TagSetKey,
)
from dagmanager.engine.model.version_rows import HolderRow, SentinelKey
from dagmanager.errors import ConstraintError
from dagmanager.graph.embedded.row_store import RowStore
from dagmanager.graph.lock_order import LockOrder

T = TypeVar("T")


class EmbeddedTransaction:
    """See `dagmanager.engine.model.graph_port.Transaction`. Writes in place; `run` undoes the writes when `work` fails.

    `broken` is the constraint that a write violated: such a transaction cannot commit, even if `work` catches the
    error. A server behaves in the same way.
    """

    def __init__(self, store: RowStore, now_ms: int) -> None:
        """`store` is for this transaction alone until `close`; `now_ms` is the clock's value for all of it."""
        self._open_store: RowStore | None = store
        self._now_ms = now_ms
        self._order = LockOrder()
        self.broken: ConstraintError | None = None

    def close(self) -> None:
        """End the transaction for its users: from now on every call raises `AssertionError`."""
        self._open_store = None

    @property
    def _store(self) -> RowStore:
        if self._open_store is None:
            msg = "this transaction is over"
            raise AssertionError(msg)
        return self._open_store

    def now_ms(self) -> int:
        """One value for the whole transaction."""
        return self._now_ms

    def lock(self, locks: Locks) -> None:
        """Check the order of locks. Nothing is locked: one embedded transaction runs at a time."""
        self._order.lock(locks)

    def known(self, keys: LookupKeys) -> Known:
        """The rows asked for, with this transaction's own writes."""
        return self._store.known(keys, self._now_ms)

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic."""
        return self._store.tagged(tags, interval, match_mode, namespace)

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        """The queues that each of several tag queries resolves to, in the order given."""
        return tuple(self.tagged(each.tags, each.interval, each.match_mode, each.namespace) for each in asked)

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        """Contents by digest."""
        return self._store.contents(digests)

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        """Which of these folded names a queue has or had, and which a node has."""
        return self._store.taken(topics, base_names)

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Which of these nodes are in a referencing content, or a dependency of one; under their locks."""
        wanted = tuple(node_ids)
        store = self._store
        self._order.must_hold_nodes(wanted)
        return store.referenced(namespace, wanted)

    def dependents(self, node_ids: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """The nodes that depend on each of these nodes directly."""
        return self._store.dependents(node_ids)

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether a pending, active or parked sentinel of the namespace is of this content."""
        return self._store.content_referenced(digest, namespace)

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        """Nodes with those of the given tags that are still assigned, and their current shared queues."""
        store = self._store
        self._order.must_hold_nodes(asked)
        return store.node_usage(asked)

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """Tag queries in active contents that name any of these (tag, interval) pairs, by node id."""
        return self._store.tag_queries(asked)

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        """The current revision of each tag set, 0 for a new one."""
        return self._store.tag_revisions(keys)

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        """Node rows by id."""
        return self._store.nodes(node_ids)

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        """Queue rows by topic."""
        return self._store.queues_by_topic(topics)

    def open_claim(self, claim_id: str) -> OpenClaim:
        """The provisioning queues and pending sentinels of this claim."""
        return self._store.open_claim(claim_id)

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        """The holders of this sentinel, by key."""
        return self._store.holders_of(sentinel)

    def put(self, rows: Sequence[Row]) -> None:
        """Insert or replace rows; `ConstraintError` for a unique name of another row.

        `AssertionError` for a row that other transactions decide from and whose lock is not held.
        """
        store = self._store
        self._must_hold(rows)
        try:
            store.put(rows)
        except ConstraintError as error:
            self.broken = error
            raise

    def delete(self, rows: Sequence[Row]) -> None:
        """Remove rows by key. `AssertionError` for a queue row: those stay as tombstones."""
        self._must_hold(rows)
        for row in rows:
            if isinstance(row, QueueRow):
                msg = f"queue rows are never removed: {row.topic}"
                raise AssertionError(msg)
        self._store.delete(rows)

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows that are not yet published, in order."""
        return self._store.waiting_events(limit)

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        """The value of each counter, 0 for a new one."""
        store = self._store
        return {name: store.counter(name) for name in names}

    def raise_epoch(self) -> int:
        """Add one to the epoch and return it. This locks the epoch, the last lock but one: lock tag sets before."""
        self._order.lock_epoch()
        value = self._store.counter(EPOCH_COUNTER) + 1
        self._store.put([CounterRow(EPOCH_COUNTER, value)])
        return value

    def _must_hold(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._order.must_hold(row)


def run(
    store: RowStore,
    now_ms: int,
    work: Callable[[Transaction], T],
    commit: Callable[[], None] = lambda: None,
) -> T:
    """One try: `work`, then `commit`. After any exception, of `commit` too, the row store is as before."""
    tx = EmbeddedTransaction(store, now_ms)
    # BaseException: an interrupt (Ctrl-C) in the middle must not leave half of the writes in memory either.
    try:
        result = work(tx)
        if tx.broken is not None:
            raise tx.broken
        commit()
    except BaseException:
        store.undo()
        raise
    finally:
        tx.close()
    store.keep()
    return result


def retried(attempt: Callable[[], T]) -> T:
    """Run `attempt` again after a `ConstraintError`, at most `CONSTRAINT_TRIES` times in all."""
    for _ in range(CONSTRAINT_TRIES - 1):
        try:
            return attempt()
        except ConstraintError:
            continue
    return attempt()
