"""Ports that fail on cue: a process that dies at its n-th touch of the world, and unkind brokers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dagmanager.engine.ports import (
    AdminEntry,
    AdminLog,
    CreateResult,
    CreateStatus,
    EventSink,
    Graph,
    Hold,
    Known,
    LookupKeys,
    Pulse,
    TaggedQueue,
    TopicConfig,
    TopicInfo,
    Topics,
    Transaction,
)
from dagmanager.engine.rows import OutboxRow, QueueRow, TopicSpec
from dagmanager.errors import UnavailableError

T = TypeVar("T")


class CrashedError(Exception):
    """The process is gone: nobody in the product may catch this."""


@dataclass
class Fuse:
    """Burns at the `at`-th point: before or after a call of any port; never when `at` is 0."""

    at: int = 0
    points: int = 0

    def point(self) -> None:
        self.points += 1
        if self.points == self.at:
            raise CrashedError(self.at)

    def around(self, call: Callable[[], T]) -> T:
        self.point()
        result = call()
        self.point()
        return result


@dataclass
class CrashingGraph:
    inner: Graph
    fuse: Fuse

    def transact(self, work: Callable[[Transaction], T]) -> T:
        return self.fuse.around(lambda: self.inner.transact(work))

    def known(self, keys: LookupKeys) -> Known:
        return self.fuse.around(lambda: self.inner.known(keys))

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        return self.fuse.around(lambda: self.inner.tagged(tags, interval, match_mode, namespace))

    def epoch(self) -> int:
        return self.fuse.around(self.inner.epoch)

    def pulse(self, counters: Sequence[str]) -> Pulse:
        return self.fuse.around(lambda: self.inner.pulse(counters))

    def hold(self, hold: Hold) -> bool:
        return self.fuse.around(lambda: self.inner.hold(hold))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        return self.fuse.around(lambda: self.inner.waiting_events(limit))

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        return self.fuse.around(lambda: self.inner.overdue_claims(limit))

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        return self.fuse.around(lambda: self.inner.queues_after(topic, limit))


@dataclass
class CrashingTopics:
    inner: Topics
    fuse: Fuse

    def brokers(self) -> int:
        return self.fuse.around(self.inner.brokers)

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        return self.fuse.around(lambda: self.inner.describe(topics))

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        return self.fuse.around(lambda: self.inner.configs(topics))

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        return self.fuse.around(lambda: self.inner.create(specs))


@dataclass
class CrashingLog:
    inner: AdminLog
    fuse: Fuse

    def append(self, entries: Sequence[AdminEntry]) -> None:
        self.fuse.around(lambda: self.inner.append(entries))


@dataclass
class CrashingEvents:
    inner: EventSink
    fuse: Fuse

    def publish(self, events: Sequence[OutboxRow]) -> None:
        self.fuse.around(lambda: self.inner.publish(events))


@dataclass
class UnkindTopics:
    """A broker that refuses names with `refuses` in them, and loses its first `silences` answers.

    `vague` first answers are AMBIGUOUS although only half of the topics were created.
    """

    inner: Topics
    refuses: str = ""
    silences: int = 0
    vague: int = 0

    def brokers(self) -> int:
        return self.inner.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        return self.inner.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        return self.inner.configs(topics)

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        refused = {topic for topic in specs if self.refuses and self.refuses in topic}
        if self.vague > 0:
            self.vague -= 1
            half = sorted(set(specs) - refused)[::2]
            self.inner.create({topic: specs[topic] for topic in half})
            return {topic: CreateResult(CreateStatus.AMBIGUOUS, "timed out") for topic in specs}
        answers = dict(self.inner.create({topic: specs[topic] for topic in specs if topic not in refused}))
        if self.silences > 0:
            self.silences -= 1
            msg = "no answer in time"
            raise UnavailableError(msg)
        return answers | {topic: CreateResult(CreateStatus.REFUSED, "policy violation") for topic in refused}
