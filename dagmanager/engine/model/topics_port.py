"""The port for the broker's topics. Deletion is a port of its own, so that the engine cannot delete.

Implementations raise `UnavailableError` when the broker is unreachable. Every call blocks until the broker
answered or the request timeout of the client passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from dagmanager.engine.model.rows import TopicSpec


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic as the broker describes it.

    `topic_id` stays the same for the life of a topic; a topic that is deleted and created again has another.
    `ready`: every partition has a leader.
    """

    topic: str
    topic_id: str
    partitions: int
    replication: int
    # A created topic has no leaders for up to some seconds; a client that got its name before could not write to it.
    ready: bool


class TopicConfig(msgspec.Struct, frozen=True):
    """The settings of a topic that creation asks for. `retention_ms` is -1 for unlimited retention."""

    retention_ms: int
    cleanup_policy: str


class CreateStatus(StrEnum):
    """The broker's answer to one creation."""

    CREATED = "created"
    EXISTS = "exists"
    """A topic of exactly this name exists; this answer does not say who created it."""
    COLLIDES = "collides"
    """Another topic's metric name would be the same (`.` and `_` are equal there)."""
    REFUSED = "refused"
    """Refused for good: a retry gets the same answer."""
    AMBIGUOUS = "ambiguous"
    """The request timed out: the topic may or may not exist; describe it."""


class CreateResult(msgspec.Struct, frozen=True):
    """The answer for one topic; `reason` is the broker's own text."""

    status: CreateStatus
    reason: str = ""


class LostReason(StrEnum):
    """What the broker has instead of the topic of an active queue."""

    GONE = "gone"
    """No topic of that name."""
    REPLACED = "replaced"
    """A topic of that name with another id: another program deleted ours and created a new one."""


class Topics(Protocol):
    """Creates and describes topics; deletes none.

    Each call blocks until the broker answers, at most `kafka_request_seconds` for each of its requests, and raises
    `UnavailableError` when no answer came. A call may be repeated.
    """

    def brokers(self) -> int:
        """How many brokers are up; with `Policy.cap_replication` this limits the replication factor."""
        ...

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """These topics by name; absent ones are left out. Never lists all topics of the broker."""
        ...

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The settings of these topics by name; absent ones are left out.

        Expensive on a real broker (1 s per 1,000 topics): ask only for topics that existed before creation.
        """
        ...

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """Create topics in one request; one answer per name. Idempotent: repeats answer `EXISTS`.

        Raises `UnavailableError` when there was no answer for any of them.
        """
        ...


# Apart from `Topics`, so that no part of the engine can delete by mistake: only the collector will be given this port.
class TopicPruner(Protocol):
    """Deletes topics. Not yet used: collection of unreferenced queues is still to come."""

    def delete(self, topics: Sequence[str]) -> None:
        """Delete topics; absent ones are ignored. Raises `UnavailableError` when the broker does not answer."""
        ...
