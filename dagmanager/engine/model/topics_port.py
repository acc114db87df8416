"""Topics as the engine sees them; only the collector holds a `TopicPruner`.

Implementations raise `UnavailableError` when the broker is unreachable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from dagmanager.engine.model.rows import TopicSpec


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic as the broker describes it. `ready`: every partition has a leader."""

    topic: str
    topic_id: str
    partitions: int
    replication: int
    ready: bool


class TopicConfig(msgspec.Struct, frozen=True):
    """What the broker keeps of a topic, as far as we ask for it."""

    retention_ms: int
    cleanup_policy: str


class CreateStatus(StrEnum):
    """How the broker answered one creation."""

    CREATED = "created"
    EXISTS = "exists"
    COLLIDES = "collides"
    REFUSED = "refused"
    AMBIGUOUS = "ambiguous"


class CreateResult(msgspec.Struct, frozen=True):
    """One topic's answer; `reason` is the broker's own text. AMBIGUOUS: ask again by describe."""

    status: CreateStatus
    reason: str = ""


class Topics(Protocol):
    """The broker's control plane. Nothing here deletes.

    Each call blocks until the broker answers, `kafka_request_seconds` at most for each of its requests, and then raises
    `UnavailableError`. Repeating a call is harmless.
    """

    def brokers(self) -> int:
        """How many brokers are up (caps the replication factor in dev)."""
        ...

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Just these; absent ones are left out. Never lists all topics."""
        ...

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The config of just these; absent ones are left out. Dear on a real broker (1 s per 1,000):
        asked only of topics that were there before we created them."""
        ...

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """Bulk, idempotent. `UnavailableError` when no answer came for any of them."""
        ...


class TopicPruner(Protocol):
    """Deletes; held by the collector alone."""

    def delete(self, topics: Sequence[str]) -> None:
        """Remove topics; absent ones are fine. Raises `UnavailableError` when the broker does not answer."""
        ...
