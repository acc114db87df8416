"""The port through which the engine reports what it saw, for metrics and for the summary of a run."""

from __future__ import annotations

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.model.topics_port import LostReason
from dagmanager.errors import Rejection


# A class, not a protocol: an observer that counts one event need not define the others.
class Observer:
    """Ignores every event; subclasses override those that they count (M6, M7, M8).

    Methods are called on the hot path and by several threads at once: they must not block and not raise.
    """

    def answered(self, status: str) -> None:
        """A submission was answered; `status` is `ok` or the code of its rejection."""

    def foreign(self, kind: str) -> None:
        """A record of another kind was skipped."""

    def hashed(self, duration_ms: float) -> None:
        """The node ids of one submission were recomputed."""

    def refused(self, rejection: Rejection) -> None:
        """A submission was refused."""

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """A submitted tag query resolved to this number of queues."""

    def lost(self, queue: QueueRow, why: LostReason) -> None:
        """The topic of an active queue is gone at the broker, or was replaced by another topic of that name."""

    def waiting(self, step: str, reason: str) -> None:
        """A worker began to wait in this step for an unreachable store; '' as the reason: it continues."""


class Observers(Observer):
    """Passes every event to several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        """`observers` receive each event in the order given."""
        self._observers = observers

    def answered(self, status: str) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.answered(status)

    def foreign(self, kind: str) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.foreign(kind)

    def hashed(self, duration_ms: float) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.hashed(duration_ms)

    def refused(self, rejection: Rejection) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.refused(rejection)

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.tag_query(node_id, query, queues)

    def lost(self, queue: QueueRow, why: LostReason) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.lost(queue, why)

    def waiting(self, step: str, reason: str) -> None:
        """Pass it to each."""
        for each in self._observers:
            each.waiting(step, reason)
