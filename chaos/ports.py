"""The flow's ports, watched: a listener is called with the name of a point before and after each call.

The product knows nothing of this: its ports are wrapped, and what is wrapped is what production uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dagmanager.engine.engine import Engine
from dagmanager.engine.model.graph_port import Graph, Transaction
from dagmanager.engine.model.topics_port import TopicInfo, Topics
from dagmanager.kafka.records import Delivery, OutgoingRecord
from operators.sources.keyed_record import KeyedRecord
from operators.sources.submission_topic import SubmissionTopic, TopicState

T = TypeVar("T")
# Called with the name of a point; may raise, or end the process.
Passing = Callable[[str], object]

# The transactions that are effects, by the function that they run; all others are called `transact`.
TRANSACTIONS: Final = frozenset({"claim", "begin", "activate"})


def around(passing: Passing, name: str, call: Callable[[], T]) -> T:
    """Two points: before the call and after it."""
    passing(name)
    result = call()
    passing(f"{name} after")
    return result


class Watched:
    """Any port; its points have the names of its methods, or those that `names` gives them."""

    def __init__(self, inner: object, passing: Passing, names: Mapping[str, str] | None = None) -> None:
        """Calls nothing."""
        self._inner = inner
        self._passing = passing
        self._names = names or {}

    def __getattr__(self, method: str) -> Any:
        """The method, with a point before and after it."""
        call, name = getattr(self._inner, method), self._names.get(method, method)
        return lambda *given, **more: around(self._passing, name, lambda: call(*given, **more))


class WatchedGraph(Watched):
    """`Graph`; a transaction that is an effect has a point of its own, and one inside: written, not committed."""

    def __init__(self, inner: Graph, passing: Passing) -> None:
        """Calls nothing."""
        super().__init__(inner, passing, {"known": "lookup", "add_holder": "claim"})
        self._graph = inner

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Points before, inside and after it."""
        name = work.func.__name__ if isinstance(work, partial) else ""
        if name not in TRANSACTIONS:
            return around(self._passing, "transact", lambda: self._graph.transact(work))

        def to_the_brink(tx: Transaction) -> T:
            result = work(tx)
            self._passing(f"{name} inside")
            return result

        return around(self._passing, name, lambda: self._graph.transact(to_the_brink))


class WatchedTopics(Watched):
    """`Topics`; describing what was asked for here is the verifying."""

    def __init__(self, inner: Topics, passing: Passing) -> None:
        """Nothing was asked for yet."""
        super().__init__(inner, passing)
        self._topics = inner
        self._asked: set[str] = set()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Points around it; once a topic is ready it is the watch that asks."""
        name = "describe" if self._asked.isdisjoint(topics) else "verify"
        found = around(self._passing, name, lambda: self._topics.describe(topics))
        self._asked.difference_update(topic for topic, info in found.items() if info.ready)
        return found

    def create(self, specs: Mapping[str, Any]) -> Any:
        """Points around it."""
        self._asked.update(specs)
        return around(self._passing, "create", lambda: self._topics.create(specs))


def watched(engine: Engine, passing: Passing) -> Engine:
    """The same engine over the same stores; each call of a port passes its points."""
    return replace(
        engine,
        graph=WatchedGraph(engine.graph, passing),
        topics=WatchedTopics(engine.topics, passing),
        events=Watched(engine.events, passing),
        admin_log=Watched(engine.admin_log, passing, {"append": "log"}),
    )


class WatchedDelivery:
    """What sinks write with; the point depends on the topic."""

    def __init__(self, inner: Delivery, passing: Passing, points: Mapping[str, str]) -> None:
        """`points` has a name for each topic."""
        self._inner = inner
        self._passing = passing
        self._points = points

    def deliver(self, records: Sequence[OutgoingRecord]) -> tuple[int, ...]:
        """Points around it; a sink delivers to one topic."""
        name = self._points[records[0].topic] if records else ""
        return around(self._passing, name, lambda: self._inner.deliver(records))


class WatchedPart(StatefulSourcePartition[KeyedRecord, TopicState]):
    """One partition; a snapshot counts when something was read since the last."""

    def __init__(self, inner: StatefulSourcePartition[KeyedRecord, TopicState], passing: Passing) -> None:
        """Nothing was read yet."""
        self._inner = inner
        self._passing = passing
        self._read = False
        self._kept = False

    def next_batch(self) -> Iterable[KeyedRecord]:
        """A point after records were read, and one after the snapshot that held earlier ones."""
        if self._kept:
            self._kept = False
            self._passing("snapshot after")
        batch = list(self._inner.next_batch())
        if batch:
            self._read = True
            self._passing("source read")
        return batch

    def snapshot(self) -> TopicState:
        """A point before it is kept."""
        if self._read:
            self._read, self._kept = False, True
            self._passing("snapshot")
        return self._inner.snapshot()

    def close(self) -> None:
        """Passed on."""
        self._inner.close()


class WatchedSource(FixedPartitionedSource[KeyedRecord, TopicState]):
    """The submissions topic; its snapshots are those of the real source."""

    def __init__(self, inner: SubmissionTopic, passing: Passing) -> None:
        """No request yet."""
        self._inner = inner
        self._passing = passing

    def list_parts(self) -> list[str]:
        """Passed on."""
        return self._inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: TopicState | None) -> WatchedPart:
        """Wrapped."""
        return WatchedPart(self._inner.build_part(step_id, for_part, resume_state), self._passing)
