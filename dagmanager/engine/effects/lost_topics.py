"""Finds active queues whose topic the broker no longer has, and declares them lost.

Submissions never ask the broker for topics that they reuse. This watch does, one page of queues at a time, beside the
flow. A topic is lost when there is none of its name, or when one has another id: then another program deleted ours and
created a new one.

A broker that has just started may not know its topics yet. So an absence counts only after `SIGHTINGS` rounds in a row
and `SETTLED_S` seconds, and an outage clears all suspicion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry, AdminLog
from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, NodeRow, QueueRow, QueueState, Row
from dagmanager.engine.model.topics_port import LostReason, Topics
from dagmanager.engine.transactions.tag_events import TagSetChange, tag_event_rows
from dagmanager.engine.wire.events import EventStamp, QueueChange, Scope, queue_lifecycle
from dagmanager.errors import UnavailableError

# Topics in one request to the broker.
PAGE: Final = 500
SIGHTINGS: Final = 3
SETTLED_S: Final = 10.0
# In one transaction: each may change several tag sets, and their events are part of it.
LOST_AT_ONCE: Final = 100


class MissingTopic(msgspec.Struct, frozen=True):
    """A missing or replaced topic: the id that was stored, and the broker's id for the name, '' for none."""

    topic: str
    topic_id: str
    found_id: str

    @property
    def why(self) -> LostReason:
        """Gone, or replaced by a topic with another id."""
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
    """The state of the watch between its rounds; not safe between threads.

    `clock` counts seconds, monotonic. A topic counts as missing after `sightings` rounds in a row, if there are at least
    `settled_s` seconds from the first to the last.
    """

    clock: Callable[[], float]
    page: int = PAGE
    sightings: int = SIGHTINGS
    settled_s: float = SETTLED_S
    _after: str = ""
    _suspects: dict[str, _Suspect] = field(default_factory=dict)

    def look(self, graph: Graph, topics: Topics) -> tuple[MissingTopic, ...]:
        """One round: describe the next page of queues and all suspected topics; those that are missing for certain.

        Blocks for one request. Raises `UnavailableError`; an outage of the broker also clears all suspicion.
        """
        rows = graph.queues_after(self._after, self.page)
        asked = {row.topic: row.topic_id for row in rows if row.state is QueueState.ACTIVE}
        asked |= {topic: each.missing.topic_id for topic, each in self._suspects.items()}
        try:
            found = topics.describe(sorted(asked)) if asked else {}
        except UnavailableError:
            self._suspects.clear()
            raise
        # A page that is not full was the last one: the next round starts over.
        self._after = rows[-1].topic if len(rows) == self.page else ""
        ids = {topic: info.topic_id for topic, info in found.items()}
        self._suspects = self._suspects_after(find_missing(asked, ids))
        return tuple(each.missing for each in self._suspects.values() if self._is_certain(each))

    def forget(self, missing: Iterable[MissingTopic]) -> None:
        """Drop these from the suspected topics: they were declared lost."""
        for each in missing:
            self._suspects.pop(each.topic, None)

    def _suspects_after(self, missing: Iterable[MissingTopic]) -> dict[str, _Suspect]:
        """The suspected topics after this round."""
        now_s = self.clock()
        suspects: dict[str, _Suspect] = {}
        for each in missing:
            before = self._suspects.get(each.topic)
            suspects[each.topic] = (
                msgspec.structs.replace(before, missing=each, sightings=before.sightings + 1)
                if before is not None
                else _Suspect(each, now_s)
            )
        return suspects

    def _is_certain(self, suspect: _Suspect) -> bool:
        return suspect.sightings >= self.sightings and self.clock() - suspect.since_s >= self.settled_s


def find_missing(asked: Mapping[str, str], found: Mapping[str, str]) -> tuple[MissingTopic, ...]:
    """The topics of `asked` that `found` lacks or has with another id; both map a name to an id.

    A topic whose id was never known ('') is missing only when there is none of its name.
    """
    return tuple(
        MissingTopic(topic, topic_id, found.get(topic, ""))
        for topic, topic_id in sorted(asked.items())
        if topic not in found or (topic_id and found[topic] != topic_id)
    )


def declare_lost(graph: Graph, admin_log: AdminLog, missing: Iterable[MissingTopic]) -> tuple[LostTopic, ...]:
    """Append the loss to the admin log, then record it in the graph; the topics that this process recorded first.

    Idempotent, also among rivals. The log comes first, as with creations: a crash in between repeats a line. Raises
    `UnavailableError`.
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
    """Set the active queues of these topics (name to the id that is missing) to lost; the changed rows.

    Answers that named them would be other ones now, so the epoch is raised. Events announce the end of each queue and
    the tag sets that it leaves.
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
    tx.put(_lifecycle_rows(tx, shared, now_ms))
    tx.put(
        tag_event_rows(
            tx, [_tag_set_change(row, node) for row, node in shared if _is_listed(node)], (), now_ms
        )
    )
    tx.raise_epoch()
    return tuple(lost)


def _still_active(tx: Transaction, ids: Mapping[str, str]) -> list[QueueRow]:
    """The queues that are still active with exactly this topic id: a rival may have recorded the loss before."""
    rows = tx.queues_by_topic(ids)
    return [
        row
        for topic, row in sorted(rows.items())
        if row.state is QueueState.ACTIVE and row.topic_id == ids[topic]
    ]


def _is_listed(node: NodeRow) -> bool:
    """Whether the queue was in a tag set: it has tags and is no tag query itself."""
    return bool(node.tags) and node.tag_query is None


def _tag_set_change(row: QueueRow, node: NodeRow) -> TagSetChange:
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


def _lifecycle_rows(tx: Transaction, lost: list[tuple[QueueRow, NodeRow]], now_ms: int) -> list[Row]:
    """One `queue_lifecycle` event for each queue, and the counter of its revisions."""
    counters = {row.topic: f"lifecycle:{row.topic}" for row, _ in lost}
    tx.lock(Locks(counters=tuple(sorted(counters.values()))))
    revisions = tx.counters(counters.values()) if counters else {}
    rows: list[Row] = []
    for row, node in lost:
        counter = counters[row.topic]
        stamp = EventStamp(revisions[counter] + 1, now_ms)
        change = QueueChange(row.topic, "drop", "lost", row.tag, node.interval)
        rows += [CounterRow(counter, stamp.revision), queue_lifecycle(change, stamp, _scope(row))]
    return rows


def _scope(row: QueueRow) -> Scope:
    return Scope(row.world_id, row.execution_domain) if row.binding.namespace else Scope()
