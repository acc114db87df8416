"""The graph in memory: the default in development, and the reference for every other implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dagmanager.disk.exclusive_access import ExclusiveAccess
from dagmanager.engine.model.graph_port import (
    EpochReading,
    HolderInsert,
    Known,
    LookupKeys,
    TaggedQueue,
    Transaction,
)
from dagmanager.engine.model.rows import EPOCH_COUNTER, OutboxRow, QueueRow, Row
from dagmanager.engine.transactions.add_holder import insert_holder
from dagmanager.graph.embedded.embedded_transaction import retried, run
from dagmanager.graph.embedded.row_store import RowStore

T = TypeVar("T")


class MemoryGraph:
    """See `dagmanager.engine.model.graph_port.Graph`. Safe between threads; lost at the end of the process.

    One transaction runs at a time. It writes in place, and is undone on any exception.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        """An empty graph. `clock` returns milliseconds since the epoch."""
        self._clock = clock
        self._store = RowStore()
        self._access = ExclusiveAccess()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically, again after a `ConstraintError`, which it raises after `CONSTRAINT_TRIES` tries.

        Blocks while another thread's transaction runs.
        """
        with self._access.working():
            return retried(lambda: run(self._store, self._clock(), work))

    def known(self, keys: LookupKeys) -> Known:
        """A snapshot of what is committed."""
        with self._access.reading():
            return self._store.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic."""
        with self._access.reading():
            return self._store.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        """The current epoch."""
        with self._access.reading():
            return self._store.counter(EPOCH_COUNTER)

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """A snapshot of the epoch and these counters."""
        with self._access.reading():
            return self._store.epoch_reading(counters, self._clock())

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Does nothing: there are no statements to plan."""

    def add_holder(self, insert: HolderInsert) -> bool:
        """Compare-and-set insert of a holder; False if the lineage or the epoch has changed."""
        return self.transact(lambda tx: insert_holder(tx, insert))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows that are not yet published, in order."""
        with self._access.reading():
            return self._store.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """At most `limit` claims of which every lease is over, oldest first."""
        with self._access.reading():
            return self._store.overdue_claims(self._clock(), limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """At most `limit` queues whose topic sorts after this one, by topic."""
        with self._access.reading():
            return self._store.queues_after(topic, limit)

    def rows(self) -> tuple[Row, ...]:
        """All rows, by type and key: for audits and tests only."""
        with self._access.reading():
            return self._store.rows()
