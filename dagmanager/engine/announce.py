"""Events for every set of queues that a change affects, written in the transaction of the change.

For each changed node: every registered tag query that matches it (before or after), and the node's
own tags as an `any` query, each with the full current list (decisions 7). A node without tags has
no tag set that anybody could ask for: its event lists the changed queues alone, so that the event
of one new queue does not grow with every untagged queue there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dagmanager.dag.model import TagQuery
from dagmanager.engine.events import Moment, Scope, queue_updated
from dagmanager.engine.ports import Locks, TagAsk, TaggedQueue, Transaction
from dagmanager.engine.rows import NodeRow, Row, TagSetKey, TagSetRow


class Changed(msgspec.Struct, frozen=True):
    """A node whose place in the sets of queues changed, in one namespace.

    `before` and `after` are its tags; `topic` the queue that came (or whose tags moved).
    """

    node_id: str
    interval: int
    namespace: str
    topic: str
    global_: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    world_id: str = ""
    execution_domain: str = ""


class _Set(msgspec.Struct, frozen=True, order=True):
    key: TagSetKey
    match_mode: str
    namespace: str
    world_id: str
    execution_domain: str


def announce(
    tx: Transaction, changes: Iterable[Changed], asked: Iterable[tuple[str, int]], now_ms: int
) -> list[Row]:
    """Tag set counters and outbox rows for these changes; locks the tag sets it counts.

    `asked` are the (tag, interval) pairs of tag queries that come or go in this transaction. Their
    locks order them against changes of queues with such a tag: of two that are under way at once,
    one sees the other.
    """
    changes = tuple(changes)
    moving = {(tag, each.interval) for each in changes for tag in {*each.before, *each.after}}
    tx.lock(Locks(tags=tuple(sorted(moving.union(asked)))))
    affected = _affected(changes, tx.tag_queries(moving) if moving else ())
    keys = sorted({each.key for each in affected})
    tx.lock(Locks(tag_sets=tuple(keys)))
    rows: list[Row] = []
    revisions = dict(tx.tag_revisions(keys)) if keys else {}
    for each, queues in _queues(tx, sorted(affected), changes):
        revisions[each.key] += 1
        event = queue_updated(
            each.key,
            each.match_mode,
            queues,
            Moment(revisions[each.key], now_ms),
            Scope(each.world_id, each.execution_domain),
        )
        # A partial list is outdated by nothing: every untagged queue is announced.
        rows.append(event if each.key.tags else msgspec.structs.replace(event, stream=""))
    rows.extend(TagSetRow(key, revision) for key, revision in sorted(revisions.items()))
    return rows


def _affected(changes: tuple[Changed, ...], queries: tuple[NodeRow, ...]) -> set[_Set]:
    affected: set[_Set] = set()
    for change in changes:
        place = (change.namespace, change.world_id, change.execution_domain)
        for tags in {change.before, change.after}:
            if tags or change.before == change.after:
                affected.add(_Set(TagSetKey(tags, change.interval), "any", *place))
            for query in _matching(queries, tags, change.interval):
                key = TagSetKey(query.tags, change.interval)
                affected.add(_Set(key, query.match_mode, *place))
    return affected


def _matching(rows: tuple[NodeRow, ...], tags: tuple[str, ...], interval: int) -> Iterable[TagQuery]:
    named = set(tags)
    for row in rows:
        query = row.tag_query
        if query is None or query.interval != interval or not named.intersection(query.tags):
            continue
        if query.match_mode != "all" or named.issuperset(query.tags):
            yield query


def _queues(
    tx: Transaction, affected: Sequence[_Set], changes: tuple[Changed, ...]
) -> Iterable[tuple[_Set, tuple[TaggedQueue, ...]]]:
    """Each with its full list, or what changed of it when nobody could ask for a list."""
    asked = [TagAsk(each.key.tags, each.key.interval, each.match_mode, each.namespace) for each in affected]
    for each, found in zip(affected, tx.tagged_sets(asked), strict=True):
        yield each, found if each.key.tags else tuple(_untagged(each, changes))


def _untagged(each: _Set, changes: tuple[Changed, ...]) -> Iterable[TaggedQueue]:
    for change in sorted(changes, key=lambda change: change.topic):
        if change.before == change.after == () and (change.namespace, change.interval) == (
            each.namespace,
            each.key.interval,
        ):
            yield TaggedQueue(change.topic, change.global_, ())
