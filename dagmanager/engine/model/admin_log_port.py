"""The port for the admin log, and its entries.

Implementations raise `UnavailableError` when the broker or the disk is unreachable; the caller retries.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from dagmanager.engine.model.rows import TopicSpec


class AdminAction(StrEnum):
    """What happened to a topic."""

    CREATE = "create"
    DELETE = "delete"
    LOST = "lost"
    """Found absent, or replaced by a topic with another id. `at_ms` is when this was noticed, not when it happened."""


class AdminEntry(msgspec.Struct, frozen=True):
    """One topic created, deleted or found lost: enough to rebuild the set of topics at a point in time (R3).

    `topic_id` is the broker's id, '' if unknown. `claim_id` names the submission and world that asked for the
    topic, '' for lost ones. `at_ms` is in milliseconds since the epoch, by the clock of the graph store.
    """

    action: AdminAction
    topic: str
    topic_id: str
    # Whole, so that the topic can be created again from the log alone (R3).
    spec: TopicSpec
    node_id: str
    namespace: str
    claim_id: str
    # One clock for the entries of all processes: by their own clocks a loss could come before the creation.
    at_ms: int


class AdminLog(Protocol):
    """The append-only log of what was done to topics."""

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Append all entries; blocks until they are durable. Raises `UnavailableError` when that fails.

        Not idempotent: a retry may repeat entries, and readers of the log ignore repeats.
        """
        ...
