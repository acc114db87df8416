"""Named points between two effects, and a fuse that kills its own process at one of them.

The product knows nothing of this: its ports are wrapped, and what is wrapped is what production uses.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dagmanager.engine.ports import (
    AdminEntry,
    AdminLog,
    CreateResult,
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
from dagmanager.kafka.records import Outgoing
from operators.submission_topic import Keyed, State, SubmissionTopic

T = TypeVar("T")

# What the issue calls a point, and every place of ours that belongs to it. `inside`: the transaction
# is written and not committed.
POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "source read": ("source read",),
    "lookup": ("lookup after",),
    "claim": ("claim", "claim inside", "claim after"),
    "begin": ("begin inside", "begin after"),
    "create": ("create", "create after"),
    "verify": ("verify", "verify after"),
    "log": ("log", "log after"),
    "activate": ("activate", "activate inside", "activate after"),
    "publish": ("publish", "publish after"),
    "emit": ("emit", "emit after"),
    "bury": ("bury", "bury after"),
    "snapshot": ("snapshot", "snapshot after"),
}
NAMED_IN_ISSUE: Final = ("source read", "claim", "create", "verify", "activate", "emit", "snapshot")
RANDOM: Final = "random instant"
_TRANSACTIONS: Final = frozenset({"claim", "begin", "activate"})


class Charge(msgspec.Struct, frozen=True):
    """Kill at the `nth` passing of `point`, counted once so many snapshots with new records were taken."""

    point: str = ""
    nth: int = 1
    after_snapshots: int = 0


class Fuse:
    """Passed by every thread of the process that it ends."""

    def __init__(self, charge: Charge) -> None:
        """Never burns when the charge names no point."""
        self._charge = charge
        self._left = charge.nth
        self._snapshots = 0
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        """Pass a point; nobody comes back from the last one."""
        with self._lock:
            armed = self._snapshots >= self._charge.after_snapshots
            if point == self._charge.point and armed:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            self._snapshots += point == "snapshot"

    def around(self, name: str, call: Callable[[], T]) -> T:
        """Two points: before the call and after it."""
        self(name)
        result = call()
        self(f"{name} after")
        return result


@dataclass
class FusedGraph:
    """`Graph`; a transaction is known by the function that it runs."""

    inner: Graph
    fuse: Fuse

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Points before, inside and after each of the transactions that are effects."""
        name = work.func.__name__ if isinstance(work, partial) else ""
        if name not in _TRANSACTIONS:
            return self.inner.transact(work)

        def to_the_brink(tx: Transaction) -> T:
            result = work(tx)
            self.fuse(f"{name} inside")
            return result

        return self.fuse.around(name, lambda: self.inner.transact(to_the_brink))

    def known(self, keys: LookupKeys) -> Known:
        """A point after it."""
        found = self.inner.known(keys)
        self.fuse("lookup after")
        return found

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """Passed on."""
        return self.inner.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        """Passed on."""
        return self.inner.epoch()

    def pulse(self, counters: Sequence[str]) -> Pulse:
        """Passed on."""
        return self.inner.pulse(counters)

    def hold(self, hold: Hold) -> bool:
        """The claim of a version in force."""
        return self.fuse.around("claim", lambda: self.inner.hold(hold))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Passed on."""
        return self.inner.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """Passed on."""
        return self.inner.overdue_claims(limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """Passed on."""
        return self.inner.queues_after(topic, limit)


class FusedTopics:
    """`Topics`; describing what this process asked to create is the verifying."""

    def __init__(self, inner: Topics, fuse: Fuse) -> None:
        """Nothing was asked for yet."""
        self._inner = inner
        self._fuse = fuse
        self._asked: set[str] = set()

    def brokers(self) -> int:
        """Passed on."""
        return self._inner.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Points around the verifying, until a topic is ready: later it is the watch that asks."""
        if self._asked.isdisjoint(topics):
            return self._inner.describe(topics)
        found = self._fuse.around("verify", lambda: self._inner.describe(topics))
        self._asked.difference_update(name for name, info in found.items() if info.ready)
        return found

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """Passed on."""
        return self._inner.configs(topics)

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """Points around it."""
        self._asked.update(specs)
        return self._fuse.around("create", lambda: self._inner.create(specs))


@dataclass
class FusedLog:
    """`AdminLog`."""

    inner: AdminLog
    fuse: Fuse

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Points around it."""
        self.fuse.around("log", lambda: self.inner.append(entries))


@dataclass
class FusedEvents:
    """`EventSink`; after it the events are sent, and still wait in the outbox."""

    inner: EventSink
    fuse: Fuse

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Points around it."""
        self.fuse.around("publish", lambda: self.inner.publish(events))


class Delivery(Protocol):
    """`KafkaProducer`, as far as it matters here."""

    def deliver(self, records: Sequence[Outgoing]) -> tuple[int, ...]:
        """All acknowledged, in order."""
        ...


@dataclass
class FusedDelivery:
    """What a sink writes with; `point` says which."""

    inner: Delivery
    fuse: Fuse
    point: str

    def deliver(self, records: Sequence[Outgoing]) -> tuple[int, ...]:
        """Points around it."""
        return self.fuse.around(self.point, lambda: self.inner.deliver(records))


class FusedPart(StatefulSourcePartition[Keyed, State]):
    """One partition; a snapshot counts when something was read since the last."""

    def __init__(self, inner: StatefulSourcePartition[Keyed, State], fuse: Fuse) -> None:
        """Nothing was read yet."""
        self._inner = inner
        self._fuse = fuse
        self._read = False
        self._kept = False

    def next_batch(self) -> Iterable[Keyed]:
        """A point after records were read, and one after the snapshot that held earlier ones."""
        if self._kept:
            self._kept = False
            self._fuse("snapshot after")
        batch = list(self._inner.next_batch())
        if batch:
            self._read = True
            self._fuse("source read")
        return batch

    def snapshot(self) -> State:
        """A point before it is kept."""
        if self._read:
            self._read, self._kept = False, True
            self._fuse("snapshot")
        return self._inner.snapshot()

    def close(self) -> None:
        """Passed on."""
        self._inner.close()


class FusedSource(FixedPartitionedSource[Keyed, State]):
    """The submissions topic; its snapshots are those of the real source."""

    def __init__(self, inner: SubmissionTopic, fuse: Fuse) -> None:
        """Asks nobody yet."""
        self._inner = inner
        self._fuse = fuse

    def list_parts(self) -> list[str]:
        """Passed on."""
        return self._inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> FusedPart:
        """Wrapped."""
        return FusedPart(self._inner.build_part(step_id, for_part, resume_state), self._fuse)
