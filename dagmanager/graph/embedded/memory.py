"""The graph in memory: the dev default, and the measure for every other implementation."""

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
from dagmanager.engine.model.rows import OutboxRow, QueueRow, Row
from dagmanager.engine.transactions.add_holder import insert_holder
from dagmanager.graph.embedded.embedded_transaction import retried, run
from dagmanager.graph.embedded.row_store import EPOCH, RowStore

T = TypeVar("T")


class MemoryGraph:
    """One transaction at a time, in place, taken back on any exception. Safe between threads.

    `clock` answers milliseconds since the epoch. Nothing survives the process.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        """An empty graph."""
        self._clock = clock
        self._image = RowStore()
        self._turn = ExclusiveAccess()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically, again when a name was taken; after 8 tries `ConstraintError`."""
        with self._turn.working():
            return retried(lambda: run(self._image, self._clock(), work))

    def known(self, keys: LookupKeys) -> Known:
        """A consistent snapshot of what is committed."""
        with self._turn.reading():
            return self._image.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        with self._turn.reading():
            return self._image.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        """The current epoch."""
        with self._turn.reading():
            return self._image.counter(EPOCH)

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """The epoch and these counters at one moment."""
        with self._turn.reading():
            return self._image.epoch_reading(counters, self._clock())

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """There is nothing to plan."""

    def add_holder(self, insert: HolderInsert) -> bool:
        """Write what only a new holder changes, if nothing else has changed."""
        return self.transact(lambda tx: insert_holder(tx, insert))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, in order."""
        with self._turn.reading():
            return self._image.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """Claims whose lease is over, oldest first."""
        with self._turn.reading():
            return self._image.overdue_claims(self._clock(), limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """Queues whose topic comes after this one, by topic."""
        with self._turn.reading():
            return self._image.queues_after(topic, limit)

    def rows(self) -> tuple[Row, ...]:
        """Everything there is, by type and key: for an audit, never for a decision."""
        with self._turn.reading():
            return self._image.rows()
