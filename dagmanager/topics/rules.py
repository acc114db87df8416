"""The checks of a Kafka broker at topic creation, for the embedded topics: names, collisions, counts."""

from __future__ import annotations

import re
from typing import Final

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_POLICIES: Final = frozenset({"delete", "compact", "compact,delete", "delete,compact"})


def collision_key(topic: str) -> str:
    """A broker refuses a topic whose key equals that of another topic, because their metrics would share a name.

    Keeps the case, as a broker does; the graph's `fold` does not.
    """
    return topic.replace(".", "_")


def check_creation(topic: str, spec: TopicSpec, twin: str | None, brokers: int) -> CreateResult:
    """The result of creating one topic; `twin` is the existing topic with the same collision key, if any."""
    # Two leading underscores mark internal topics: a broker would create `__consumer_offsets` on request.
    if topic in {".", ".."} or topic.startswith("__") or not _NAME.fullmatch(topic):
        return CreateResult(CreateStatus.REFUSED, f"invalid topic name {topic[:260]!r}")
    if twin == topic:
        return CreateResult(CreateStatus.EXISTS, f"topic {topic!r} already exists")
    if twin is not None:
        return CreateResult(CreateStatus.COLLIDES, f"topic {topic!r} collides with existing topic {twin!r}")
    if spec.partitions < 1:
        return CreateResult(CreateStatus.REFUSED, f"{spec.partitions} partitions; at least 1 is needed")
    if spec.replication >= 1 and not spec.is_possible:
        return CreateResult(CreateStatus.REFUSED, "no broker can create a topic of this shape")
    if not 1 <= spec.replication <= brokers:
        reason = f"replication factor {spec.replication} with {brokers} brokers up"
        return CreateResult(CreateStatus.REFUSED, reason)
    if spec.cleanup_policy not in _POLICIES:
        return CreateResult(CreateStatus.REFUSED, f"unknown cleanup.policy {spec.cleanup_policy!r}")
    return CreateResult(CreateStatus.CREATED)


def stored_retention_ms(spec: TopicSpec) -> int:
    """The retention in ms as a broker stores it; every negative value means for ever and becomes -1."""
    return max(spec.retention_ms, -1)
