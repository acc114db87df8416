"""One transaction over an image: what both embedded graphs hand to `work`, and how a try ends."""

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
    ContentRow,
    CounterRow,
    HolderRow,
    NodeRow,
    OutboxRow,
    QueueRow,
    Row,
    SentinelKey,
    TagSetKey,
)
from dagmanager.errors import ConstraintError
from dagmanager.graph.embedded.row_store import EPOCH, RowStore
from dagmanager.graph.lock_order import LockOrder

T = TypeVar("T")


class EmbeddedTransaction:
    """Writes in place; its owner takes them back when `work` fails.

    `broken` is the constraint that a write ran into: such a transaction cannot be kept, even if `work`
    goes on as if nothing had happened.
    """

    def __init__(self, image: RowStore, now_ms: int) -> None:
        """Over an image that nobody else touches until `close`."""
        self._image_open: RowStore | None = image
        self._now_ms = now_ms
        self._order = LockOrder()
        self.broken: ConstraintError | None = None

    def close(self) -> None:
        """From now on every call is an error: the transaction is over."""
        self._image_open = None

    @property
    def _image(self) -> RowStore:
        if self._image_open is None:
            msg = "this transaction is over"
            raise AssertionError(msg)
        return self._image_open

    def now_ms(self) -> int:
        """One value for the whole transaction."""
        return self._now_ms

    def lock(self, locks: Locks) -> None:
        """Checks the order; there is nobody to wait for."""
        self._order.lock(locks)

    def known(self, keys: LookupKeys) -> Known:
        """A snapshot with this transaction's own writes."""
        return self._image.known(keys, self._now_ms)

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        return self._image.tagged(tags, interval, match_mode, namespace)

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        """The queues behind each of several tag queries."""
        return tuple(self.tagged(each.tags, each.interval, each.match_mode, each.namespace) for each in asked)

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        """Contents by digest."""
        return self._image.contents(digests)

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        """Folded names that are, or were, in use."""
        return self._image.taken(topics, base_names)

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Nodes in, or a dependency in, a referencing content."""
        wanted = tuple(node_ids)
        image = self._image
        self._order.must_hold_nodes(wanted)
        return image.referenced(namespace, wanted)

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether a referencing sentinel of the namespace is of this content."""
        return self._image.content_referenced(digest, namespace)

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        """Node rows with what is in force of their tags and their current shared queues."""
        image = self._image
        self._order.must_hold_nodes(asked)
        return image.node_usage(asked)

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """Registered tag queries, by node id."""
        return self._image.tag_queries(asked)

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        """The current revisions, 0 for a new set."""
        return self._image.tag_revisions(keys)

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        """Node rows by id."""
        return self._image.nodes(node_ids)

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        """Queue rows by topic."""
        return self._image.queues_by_topic(topics)

    def claims(self, claim_id: str) -> OpenClaim:
        """What is provisioning and pending under this claim."""
        return self._image.claims(claim_id)

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        """Who holds this sentinel, by key."""
        return self._image.holders_of(sentinel)

    def put(self, rows: Sequence[Row]) -> None:
        """Insert or replace; what rivals decide from is written under its lock only."""
        image = self._image
        self._must_hold(rows)
        try:
            image.put(rows)
        except ConstraintError as error:
            self.broken = error
            raise

    def delete(self, rows: Sequence[Row]) -> None:
        """Remove by key; a queue row is a tombstone one day and never goes."""
        self._must_hold(rows)
        for row in rows:
            if isinstance(row, QueueRow):
                msg = f"queue rows are never removed: {row.topic}"
                raise AssertionError(msg)
        self._image.delete(rows)

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, in order."""
        return self._image.waiting_events(limit)

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        """Named counters, 0 when new."""
        image = self._image
        return {name: image.counter(name) for name in names}

    def raise_epoch(self) -> int:
        """Add one to the epoch; this locks it, so that tag sets must be locked before."""
        self._order.lock_epoch()
        value = self._image.counter(EPOCH) + 1
        self._image.put([CounterRow(EPOCH, value)])
        return value

    def _must_hold(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._order.must_hold(row)


def run(
    image: RowStore,
    now_ms: int,
    work: Callable[[Transaction], T],
    commit: Callable[[], None] = lambda: None,
) -> T:
    """One try: `work`, then `commit`, then final; after any exception the image is as before."""
    tx = EmbeddedTransaction(image, now_ms)
    try:
        result = work(tx)
        if tx.broken is not None:
            raise tx.broken
        commit()
    except BaseException:
        image.undo()
        raise
    finally:
        tx.close()
    image.keep()
    return result


def retried(attempt: Callable[[], T]) -> T:
    """Try again when a name was taken, a bounded number of times."""
    for _ in range(CONSTRAINT_TRIES - 1):
        try:
            return attempt()
        except ConstraintError:
            continue
    return attempt()
