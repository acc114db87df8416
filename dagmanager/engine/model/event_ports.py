"""Where control events and admin log entries are written.

Implementations raise `UnavailableError` when the broker or the disk is unreachable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from dagmanager.engine.model.rows import OutboxRow, TopicSpec


class EventSink(Protocol):
    """Where control events go (ControlBus)."""

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Deliver all, in order, before returning; `UnavailableError` otherwise (repeats are fine)."""
        ...


class AdminEntry(msgspec.Struct, frozen=True):
    """One topic created, deleted or found lost: enough to rebuild the topic set at a moment (R3)."""

    action: str
    topic: str
    topic_id: str
    spec: TopicSpec
    node_id: str
    namespace: str
    claim_id: str
    at_ms: int


class AdminLog(Protocol):
    """The append-only record of what was done to topics."""

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Durable before it returns."""
        ...
