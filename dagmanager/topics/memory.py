"""Topics in memory, with the checks of a Kafka broker that the engine depends on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo
from dagmanager.topics.rules import check_creation, collision_key, stored_retention_ms


def random_id() -> str:
    """A random topic id: 32 hex digits."""
    return uuid4().hex


@dataclass
class _Topic:
    spec: TopicSpec
    topic_id: str
    described: int = 0


class MemoryTopics:
    """`Topics` and `TopicPruner`. Safe between threads; nothing survives the process.

    A topic is `ready` from its (`ready_after` + 1)-th description on, as a real topic has leaders only some time after its
    creation. Every creation gets a new id from `new_id`.
    """

    def __init__(self, brokers: int = 1, ready_after: int = 0, new_id: Callable[[], str] = random_id) -> None:
        """Empty; `brokers` is the number of brokers to report."""
        self._brokers = brokers
        self._ready_after = ready_after
        self._new_id = new_id
        self._topics: dict[str, _Topic] = {}
        self._by_collision_key: dict[str, str] = {}
        self._lock = threading.Lock()

    def brokers(self) -> int:
        """The number given at construction."""
        return self._brokers

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """The topics that exist among these."""
        with self._lock:
            return {topic: self._seen(topic) for topic in topics if topic in self._topics}

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The configs given at creation, of the topics that exist among these."""
        with self._lock:
            found = {topic: self._topics[topic].spec for topic in topics if topic in self._topics}
        return {
            topic: TopicConfig(stored_retention_ms(spec), spec.cleanup_policy)
            for topic, spec in found.items()
        }

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """One result per topic, decided in the given order."""
        with self._lock:
            return {topic: self._created(topic, spec) for topic, spec in specs.items()}

    def delete(self, topics: Sequence[str]) -> None:
        """Not yet used: no collector exists. Idempotent; a topic created again gets another id."""
        with self._lock:
            for topic in topics:
                if self._topics.pop(topic, None) is not None:
                    del self._by_collision_key[collision_key(topic)]

    def names(self) -> tuple[str, ...]:
        """Every topic, sorted: for audits and tests only."""
        with self._lock:
            return tuple(sorted(self._topics))

    def _created(self, topic: str, spec: TopicSpec) -> CreateResult:
        twin = self._by_collision_key.get(collision_key(topic))
        answer = check_creation(topic, spec, twin, self._brokers)
        if answer.status is CreateStatus.CREATED:
            self._topics[topic] = _Topic(spec, self._new_id())
            self._by_collision_key[collision_key(topic)] = topic
        return answer

    def _seen(self, topic: str) -> TopicInfo:
        found = self._topics[topic]
        found.described += 1
        return TopicInfo(
            topic=topic,
            topic_id=found.topic_id,
            partitions=found.spec.partitions,
            replication=found.spec.replication,
            ready=found.described > self._ready_after,
        )
