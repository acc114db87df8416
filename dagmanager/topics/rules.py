"""What a Kafka broker accepts, for the embedded stand-ins: names, collisions, counts."""

from __future__ import annotations

import re
from typing import Final

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_POLICIES: Final = frozenset({"delete", "compact", "compact,delete", "delete,compact"})


def collision_key(topic: str) -> str:
    """Names with the same key share metric names, so that a broker has at most one of them.

    Unlike the graph's fold this keeps the case: a broker does.
    """
    return topic.replace(".", "_")


def check_creation(topic: str, spec: TopicSpec, twin: str | None, brokers: int) -> CreateResult:
    """The answer to one creation; `twin` is the topic that already has this collision key."""
    # Leading underscores are the broker's own: it would make `__consumer_offsets` for anybody who asks.
    if topic in {".", ".."} or topic.startswith("__") or not _NAME.fullmatch(topic):
        return CreateResult(CreateStatus.REFUSED, f"invalid topic name {topic[:260]!r}")
    if twin == topic:
        return CreateResult(CreateStatus.EXISTS, f"topic {topic!r} already exists")
    if twin is not None:
        return CreateResult(CreateStatus.COLLIDES, f"topic {topic!r} collides with existing topic {twin!r}")
    if spec.partitions < 1:
        return CreateResult(CreateStatus.REFUSED, f"{spec.partitions} partitions; at least 1 is needed")
    if not 1 <= spec.replication <= brokers:
        reason = f"replication factor {spec.replication} with {brokers} brokers up"
        return CreateResult(CreateStatus.REFUSED, reason)
    if spec.cleanup_policy not in _POLICIES:
        return CreateResult(CreateStatus.REFUSED, f"unknown cleanup.policy {spec.cleanup_policy!r}")
    return CreateResult(CreateStatus.CREATED)


def stored_retention_ms(spec: TopicSpec) -> int:
    """The retention as a broker stores it: for ever is -1."""
    return max(spec.retention_ms, -1)
