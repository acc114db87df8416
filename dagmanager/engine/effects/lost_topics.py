"""Topics that the graph calls active and the broker lost: noticed, named, and answered with no more.

A submission never asks the broker for topics that it reuses; this watch does, a page at a time, beside
the flow. A topic is lost when it is gone, or when somebody made another one of its name: that one has
another id and is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from dagmanager.engine.model.event_ports import AdminAction, AdminEntry, AdminLog
from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, NodeRow, QueueRow, QueueState, Row
from dagmanager.engine.model.topics_port import LostReason, Topics
from dagmanager.engine.transactions.tag_events import TagSetChange, tag_event_rows
from dagmanager.engine.wire.events import EventStamp, QueueChange, Scope, queue_lifecycle
from dagmanager.errors import UnavailableError

# What the broker describes in one request.
PAGE: Final = 500
# A broker that has just come back may not know a topic that is there: an absence is believed only when
# it was confirmed twice, and for longer than that lasts.
SIGHTINGS: Final = 3
SETTLED_S: Final = 10.0
# Each of them may change sets of queues, which are announced within the transaction.
LOST_AT_ONCE: Final = 100


class MissingTopic(msgspec.Struct, frozen=True):
    """Evidence against one topic: the id that ours has, and the one that the broker told ('' = none)."""

    topic: str
    topic_id: str
    found_id: str

    @property
    def why(self) -> LostReason:
        """`replaced` when the name is somebody else's now."""
        return LostReason.REPLACED if self.found_id else LostReason.GONE


class LostTopic(msgspec.Struct, frozen=True):
    """A queue that this process declared lost."""

    queue: QueueRow
    why: LostReason


class _Suspect(msgspec.Struct, frozen=True):
    missing: MissingTopic
    since_s: float
    sightings: int = 1


@dataclass
class LostTopicWatch:
    """What one process remembers between its rounds; for one thread.

    `clock` counts seconds and never goes backwards. A topic counts as missing after `sightings` rounds
    in a row that are `settled_s` apart at least, from the first to the last.
    """

    clock: Callable[[], float]
    page: int = PAGE
    sightings: int = SIGHTINGS
    settled_s: float = SETTLED_S
    _after: str = ""
    _suspects: dict[str, _Suspect] = field(default_factory=dict)

    def look(self, graph: Graph, topics: Topics) -> tuple[MissingTopic, ...]:
        """One round: the next page of queues and everything under suspicion; what is missing for certain.

        `UnavailableError` when a store is away. An outage of the broker proves nothing, and all suspicion ends.
        """
        rows = graph.queues_after(self._after, self.page)
        asked = {row.topic: row.topic_id for row in rows if row.state is QueueState.ACTIVE}
        asked |= {topic: each.missing.topic_id for topic, each in self._suspects.items()}
        try:
            found = topics.describe(sorted(asked)) if asked else {}
        except UnavailableError:
            self._suspects.clear()
            raise
        self._after = rows[-1].topic if len(rows) == self.page else ""
        ids = {topic: info.topic_id for topic, info in found.items()}
        self._suspects = self._judged(find_missing(asked, ids))
        return tuple(each.missing for each in self._suspects.values() if self._is_certain(each))

    def forget(self, missing: Iterable[MissingTopic]) -> None:
        """These were acted on."""
        for each in missing:
            self._suspects.pop(each.topic, None)

    def _judged(self, missing: Iterable[MissingTopic]) -> dict[str, _Suspect]:
        """Suspects of this round: those of the last one once more, and new ones."""
        now_s = self.clock()
        judged: dict[str, _Suspect] = {}
        for each in missing:
            before = self._suspects.get(each.topic)
            judged[each.topic] = (
                msgspec.structs.replace(before, missing=each, sightings=before.sightings + 1)
                if before is not None
                else _Suspect(each, now_s)
            )
        return judged

    def _is_certain(self, suspect: _Suspect) -> bool:
        return suspect.sightings >= self.sightings and self.clock() - suspect.since_s >= self.settled_s


def find_missing(asked: Mapping[str, str], found: Mapping[str, str]) -> tuple[MissingTopic, ...]:
    """Of the topics asked for (name to our id) those that the broker (name to its id) has not, or not as ours.

    One of which we never knew an id is missing only when there is none of its name.
    """
    return tuple(
        MissingTopic(topic, topic_id, found.get(topic, ""))
        for topic, topic_id in sorted(asked.items())
        if topic not in found or (topic_id and found[topic] != topic_id)
    )


def declare_lost(graph: Graph, admin_log: AdminLog, missing: Iterable[MissingTopic]) -> tuple[LostTopic, ...]:
    """Log and record them; what this process was the first to record. Idempotent, also among rivals.

    The log comes first, as with creations: a crash between the two leaves a line that is said again.
    """
    by_topic = {each.topic: each for each in missing}
    ids = {topic: each.topic_id for topic, each in by_topic.items()}
    admin_log.append(graph.transact(partial(_entries, ids=ids)))
    rows = graph.transact(partial(mark_lost, ids=ids))
    return tuple(LostTopic(row, by_topic[row.topic].why) for row in rows)


def _entries(tx: Transaction, ids: Mapping[str, str]) -> list[AdminEntry]:
    now_ms = tx.now_ms()
    return [
        AdminEntry(
            AdminAction.LOST,
            row.topic,
            row.topic_id,
            row.spec,
            row.binding.node_id,
            row.binding.namespace,
            "",
            now_ms,
        )
        for row in _still_active(tx, ids)
    ]


def mark_lost(tx: Transaction, ids: Mapping[str, str]) -> tuple[QueueRow, ...]:
    """Queues of these topics (name to the id that was missed) that are active become lost; those rows.

    Whoever was told of them would now be told something else, so the epoch is raised; the sets of queues that
    they leave are announced, and their end is.
    """
    nodes = {row.binding.node_id for row in tx.queues_by_topic(ids).values()}
    tx.lock(Locks(nodes=tuple(sorted(nodes))))
    lost = [msgspec.structs.replace(row, state=QueueState.LOST) for row in _still_active(tx, ids)]
    if not lost:
        return ()
    now_ms = tx.now_ms()
    tx.put(lost)
    known = tx.nodes(nodes)
    shared = [(row, known[row.binding.node_id]) for row in lost if not row.binding.safe]
    tx.put(_ends(tx, shared, now_ms))
    tx.put(tag_event_rows(tx, [_left(row, node) for row, node in shared if _is_listed(node)], (), now_ms))
    tx.raise_epoch()
    return tuple(lost)


def _still_active(tx: Transaction, ids: Mapping[str, str]) -> list[QueueRow]:
    """A rival may have been faster, and what was missed is a topic of this id alone."""
    rows = tx.queues_by_topic(ids)
    return [
        row
        for topic, row in sorted(rows.items())
        if row.state is QueueState.ACTIVE and row.topic_id == ids[topic]
    ]


def _is_listed(node: NodeRow) -> bool:
    """Whether its queue was in a set that anybody can ask for."""
    return bool(node.tags) and node.tag_query is None


def _left(row: QueueRow, node: NodeRow) -> TagSetChange:
    scope = _scope(row)
    return TagSetChange(
        node_id=node.node_id,
        interval=node.interval,
        namespace=row.binding.namespace,
        topic=row.topic,
        global_=node.global_,
        before=node.tags,
        after=node.tags,
        world_id=scope.world_id,
        execution_domain=scope.execution_domain,
    )


def _ends(tx: Transaction, lost: list[tuple[QueueRow, NodeRow]], now_ms: int) -> list[Row]:
    """One `queue_lifecycle` event for each queue, and the counters that order them."""
    counters = {row.topic: f"lifecycle:{row.topic}" for row, _ in lost}
    tx.lock(Locks(counters=tuple(sorted(counters.values()))))
    revisions = tx.counters(counters.values()) if counters else {}
    rows: list[Row] = []
    for row, node in lost:
        counter = counters[row.topic]
        moment = EventStamp(revisions[counter] + 1, now_ms)
        change = QueueChange(row.topic, "drop", "lost", row.tag, node.interval)
        rows += [CounterRow(counter, moment.revision), queue_lifecycle(change, moment, _scope(row))]
    return rows


def _scope(row: QueueRow) -> Scope:
    return Scope(row.world_id, row.execution_domain) if row.binding.namespace else Scope()
