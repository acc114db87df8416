"""A world that can crash anywhere: own source and sinks, stores that survive, and named crash points.

Bytewax's `TestingSource` counts wrongly after an ABORT, so the source here is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from chaos.ports import watched
from dagmanager.assembly import Assembled, assemble_over
from dagmanager.dag.model import Record
from dagmanager.engine.effects.outbox import publish_outbox
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult
from dagmanager.engine.wire.message import Message
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from flows.submissions import Sinks
from operators.store_retry import RetryPolicy
from sinks.queue_events import QueueEventsSink
from tests.engine.crashing import Fuse

T = TypeVar("T")
START_MS = 1_800_000_000_000


class Clock:
    """Stands still but for sleeping."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        self.now_ms += max(1, int(seconds * 1000))


class OneByOne:
    """A broker that makes the topics of one request one after the other, with a point before each."""

    def __init__(self, topics: MemoryTopics, fuse: Fuse) -> None:
        self._topics, self._fuse = topics, fuse

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        found: dict[str, CreateResult] = {}
        for topic, spec in specs.items():
            self._fuse("create one")
            found |= self._topics.create({topic: spec})
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topics, name)


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

    def assembled(self, fuse: Fuse, slow_topics: bool = False) -> Assembled:
        """A new process over the same stores; topics that are slow are created beside the flow."""
        topics = OneByOne(self.topics, fuse)
        found = assemble_over(Settings(), self.graph, topics, self.events, self.admin_log)
        found.engine.sleep = self.clock.sleep
        return replace(found, engine=watched(found.engine, fuse), slow_topics=slow_topics)

    def sinks(self, assembled: Assembled, fuse: Fuse, retry: RetryPolicy | None = None) -> Sinks:
        """Where its answers go."""
        engine = assembled.engine

        def publish() -> object:
            return (retry or _at_once)(lambda: publish_outbox(engine.graph, engine.events))

        return Sinks(ListSink(self.diffs, fuse), ListSink(self.letters, fuse), QueueEventsSink(publish))


def _at_once(call: Callable[[], T]) -> T:
    return call()


def impatient(stopping: Callable[[], bool] = lambda: True) -> RetryPolicy:
    """Tries again without a pause."""
    return RetryPolicy(lambda _: None, stopping)


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
