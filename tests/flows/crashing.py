"""A world that can crash anywhere: own source and sinks, stores that survive, and named crash points.

Bytewax's `TestingSource` counts wrongly after an ABORT, so the source here is our own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.assembly import Assembled, embedded
from dagmanager.dag.model import Record
from dagmanager.engine.journey import Message
from dagmanager.engine.ports import (
    AdminEntry,
    CreateResult,
    Known,
    LookupKeys,
    TopicConfig,
    TopicInfo,
    Transaction,
)
from dagmanager.engine.publish import publish_waiting
from dagmanager.engine.rows import OutboxRow, TopicSpec
from dagmanager.graph.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows.submissions import Sinks
from operators.patience import Patience
from sinks.queue_events import QueueEventsSink

T = TypeVar("T")
START_MS = 1_800_000_000_000


class CrashError(Exception):
    """The process died here."""


class Fuse:
    """Blows at the `left`-th point passed; after that every point blows, as in a dead process."""

    def __init__(self, left: int | None = None, only: str = "") -> None:
        self.left = left
        self.only = only
        self.passed = 0
        self.at = ""
        self.raises: Callable[[str], Exception] = CrashError
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        with self._lock:
            self.passed += 1
            if self.left is None or (self.only and not self.at and point != self.only):
                return
            self.left -= 1
            if self.left <= 0:
                self.at = self.at or point
                raise self.raises(point)


class Clock:
    """Stands still but for sleeping."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        self.now_ms += max(1, int(seconds * 1000))


class FusedGraph:
    """A graph whose calls may crash before and after."""

    def __init__(self, graph: MemoryGraph, fuse: Fuse) -> None:
        self._graph, self._fuse = graph, fuse

    def known(self, keys: LookupKeys) -> Known:
        self._fuse("graph.known")
        found = self._graph.known(keys)
        self._fuse("graph.known after")
        return found

    def transact(self, work: Callable[[Transaction], T]) -> T:
        self._fuse("graph.transact")
        found = self._graph.transact(work)
        self._fuse("graph.transact after")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)


class FusedTopics:
    """A broker that may crash before and after, and between two creations of one request."""

    def __init__(self, topics: MemoryTopics, fuse: Fuse) -> None:
        self._topics, self._fuse = topics, fuse

    def brokers(self) -> int:
        return self._topics.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        self._fuse("topics.describe")
        return self._topics.describe(topics)

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        self._fuse("topics.configs")
        return self._topics.configs(topics)

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        found: dict[str, CreateResult] = {}
        for topic, spec in specs.items():
            self._fuse("topics.create")
            found |= self._topics.create({topic: spec})
        self._fuse("topics.create after")
        return found


class FusedLog:
    """Events and admin entries that may be written although the writer died."""

    def __init__(self, events: MemoryEvents, admin_log: MemoryAdminLog, fuse: Fuse) -> None:
        self._events, self._admin_log, self._fuse = events, admin_log, fuse

    def publish(self, events: Sequence[OutboxRow]) -> None:
        self._fuse("events.publish")
        self._events.publish(events)
        self._fuse("events.publish after")

    def append(self, entries: Sequence[AdminEntry]) -> None:
        self._fuse("admin_log.append")
        self._admin_log.append(entries)
        self._fuse("admin_log.append after")


@dataclass
class World:
    """What survives a crash."""

    clock: Clock = field(default_factory=Clock)
    topics: MemoryTopics = field(default_factory=MemoryTopics)
    events: MemoryEvents = field(default_factory=MemoryEvents)
    admin_log: MemoryAdminLog = field(default_factory=MemoryAdminLog)
    diffs: list[Message] = field(default_factory=list)
    letters: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.graph = MemoryGraph(self.clock)

    def assembled(self, fuse: Fuse) -> Assembled:
        """A new process over the same stores."""
        log = FusedLog(self.events, self.admin_log, fuse)
        found = embedded(Settings(), FusedGraph(self.graph, fuse), FusedTopics(self.topics, fuse), log, log)
        found.engine.sleep = self.clock.sleep
        return found

    def sinks(self, assembled: Assembled, fuse: Fuse, patience: Patience | None = None) -> Sinks:
        """Where its answers go."""
        engine = assembled.engine

        def publish() -> object:
            return (patience or _at_once)(lambda: publish_waiting(engine.graph, engine.events))

        return Sinks(ListSink(self.diffs, fuse), ListSink(self.letters, fuse), QueueEventsSink(publish))


def _at_once(call: Callable[[], T]) -> T:
    return call()


def impatient(stopping: Callable[[], bool] = lambda: True) -> Patience:
    """Waits for nobody."""
    return Patience(lambda _: None, stopping)


class ListPartition(StatefulSourcePartition[tuple[str, Record], int]):
    """Counts what it gave; that is its state."""

    def __init__(self, items: Sequence[Record], start: int | None, batch: int, fuse: Fuse) -> None:
        self._items, self._at, self._batch, self._fuse = items, start or 0, batch, fuse

    def next_batch(self) -> Iterable[tuple[str, Record]]:
        self._fuse("source")
        if self._at >= len(self._items):
            raise StopIteration
        found = self._items[self._at : self._at + self._batch]
        self._at += len(found)
        self._fuse("source after")
        return [("any", each) for each in found]

    def snapshot(self) -> int:
        return self._at


class ListSource(FixedPartitionedSource[tuple[str, Record], int]):
    """Records of one or more partitions, in order."""

    def __init__(self, parts: Mapping[str, Sequence[Record]], batch: int, fuse: Fuse) -> None:
        self._parts, self._batch, self._fuse = parts, batch, fuse

    def list_parts(self) -> list[str]:
        return sorted(self._parts)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> ListPartition:
        return ListPartition(self._parts[for_part], resume_state, self._batch, self._fuse)


class ListSinkPartition(StatefulSinkPartition[Message, None]):
    """Appends one by one; may die between two."""

    def __init__(self, into: list[Message], fuse: Fuse) -> None:
        self._into, self._fuse = into, fuse

    def write_batch(self, values: list[Message]) -> None:
        for each in values:
            self._fuse("sink")
            self._into.append(each)
        self._fuse("sink after")

    def snapshot(self) -> None:
        return None


class ListSink(FixedPartitionedSink[Message, None]):
    """All in one list."""

    def __init__(self, into: list[Message], fuse: Fuse) -> None:
        self._into, self._fuse = into, fuse

    def list_parts(self) -> list[str]:
        return ["list"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> ListSinkPartition:
        return ListSinkPartition(self._into, self._fuse)
