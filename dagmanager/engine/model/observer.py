"""Who is told what the engine sees: a port like those of `ports`, and the one that counts nothing."""

from __future__ import annotations

from typing import Protocol

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.rows import QueueRow
from dagmanager.errors import Rejection


class Observer(Protocol):
    """Who counts what the engine sees (M6, M7, M8); it decides nothing and never fails."""

    def answered(self, status: str) -> None:
        """One submission was told `status`: ok or a rejection's code."""
        ...

    def foreign(self, kind: str) -> None:
        """A record of another kind went by."""
        ...

    def hashed(self, duration_ms: float) -> None:
        """The ids of one submission were recomputed."""
        ...

    def refused(self, rejection: Rejection) -> None:
        """A submission was refused for what it says."""
        ...

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """A submitted tag query and how many queues it resolves to."""
        ...

    def lost(self, queue: QueueRow, why: str) -> None:
        """The broker lost an active queue's topic: `gone`, or `replaced` by somebody else's."""
        ...

    def waiting(self, step: str, reason: str) -> None:
        """A worker began to wait in this step for a store that is away; without a reason, it goes on."""
        ...


class Unobserved:
    """Counts nothing."""

    def answered(self, status: str) -> None:
        """Nothing."""

    def foreign(self, kind: str) -> None:
        """Nothing."""

    def hashed(self, duration_ms: float) -> None:
        """Nothing."""

    def refused(self, rejection: Rejection) -> None:
        """Nothing."""

    def tag_query(self, node_id: str, query: TagQuery, queues: int) -> None:
        """Nothing."""

    def lost(self, queue: QueueRow, why: str) -> None:
        """Nothing."""

    def waiting(self, step: str, reason: str) -> None:
        """Nothing."""
