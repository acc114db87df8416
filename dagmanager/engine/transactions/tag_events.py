"""Events for every set of queues that a change affects, written in the transaction of the change.

For each changed node: every registered tag query that matches it (before or after), and the node's
own tags as an `any` query, each with the full current list (docs/semantics.md 8). A node without tags has
no tag set that anybody could ask for: its event lists the changed queues alone, so that the event
of one new queue does not grow with every untagged queue there is.

A thousand nodes that share one tag and have another each have a thousand tag sets with a list of a thousand queues
each. Of sets that no query has registered so many are announced that each changed queue is in a list, and more
while all lists together stay short: else one transaction would write hundreds of megabytes, and never end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import Locks, TaggedQueue, TagQuestion, Transaction
from dagmanager.engine.model.rows import NodeRow, Row, TagSetKey, TagSetRow
from dagmanager.engine.wire.events import EventStamp, Scope, queue_updated

# Queues in all lists of unregistered sets together, in one transaction: some 2 MB.
OWN_LISTS_MAX: Final = 20_000
Queues = tuple[TaggedQueue, ...]


class TagSetChange(msgspec.Struct, frozen=True):
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


def tag_event_rows(
    tx: Transaction, changes: Iterable[TagSetChange], asked: Iterable[tuple[str, int]], now_ms: int
) -> list[Row]:
    """Tag set counters and outbox rows for these changes; locks the tag sets it counts.

    `asked` are the (tag, interval) pairs of tag queries that come or go in this transaction. Their
    locks order them against changes of queues with such a tag: of two that are under way at once,
    one sees the other.
    """
    changes = tuple(changes)
    moving = {(tag, each.interval) for each in changes for tag in {*each.before, *each.after}}
    tx.lock(Locks(tags=tuple(sorted(moving.union(asked)))))
    registered = _registered(changes, tx.tag_queries(moving) if moving else ())
    # Under the locks of its tags the list of a node's own set stands still.
    own = _own_lists(tx, changes, registered)
    affected = sorted(registered.union(own))
    keys = sorted({each.key for each in affected})
    tx.lock(Locks(tag_sets=tuple(keys)))
    rows: list[Row] = []
    revisions = dict(tx.tag_revisions(keys)) if keys else {}
    lists = own | _lists(tx, sorted(registered))
    for each in affected:
        revisions[each.key] += 1
        event = queue_updated(
            each.key,
            each.match_mode,
            lists[each],
            EventStamp(revisions[each.key], now_ms),
            Scope(each.world_id, each.execution_domain),
        )
        # A partial list is outdated by nothing: every untagged queue is announced.
        rows.append(event if each.key.tags else msgspec.structs.replace(event, stream=""))
    rows.extend(TagSetRow(key, revision) for key, revision in sorted(revisions.items()))
    return rows


def _own(changes: tuple[TagSetChange, ...]) -> dict[_Set, set[str]]:
    """The tags of each changed node, before and after, as a query for `any` of them; and the topics of those that
    have them now."""
    bearers: dict[_Set, set[str]] = {}
    for change in changes:
        for tags in {change.before, change.after}:
            if tags or change.before == change.after:
                own = _Set(TagSetKey(tags, change.interval), "any", *_place(change))
                bearers.setdefault(own, set()).update({change.topic} if tags == change.after else ())
    return bearers


def _registered(changes: tuple[TagSetChange, ...], queries: tuple[NodeRow, ...]) -> set[_Set]:
    """Every query of a TagQueryNode that matches a changed node, before or after."""
    return {
        _Set(TagSetKey(query.tags, change.interval), query.match_mode, *_place(change))
        for change in changes
        for tags in {change.before, change.after}
        for query in _matching(queries, tags, change.interval)
    }


def _place(change: TagSetChange) -> tuple[str, str, str]:
    return change.namespace, change.world_id, change.execution_domain


def _matching(rows: tuple[NodeRow, ...], tags: tuple[str, ...], interval: int) -> Iterable[TagQuery]:
    named = set(tags)
    for row in rows:
        query = row.tag_query
        if query is None or query.interval != interval or not named.intersection(query.tags):
            continue
        if query.match_mode != "all" or named.issuperset(query.tags):
            yield query


def _lists(tx: Transaction, sets: Sequence[_Set]) -> dict[_Set, Queues]:
    """Each with its full list."""
    asked = [TagQuestion(each.key.tags, each.key.interval, each.match_mode, each.namespace) for each in sets]
    return dict(zip(sets, tx.tagged_sets(asked), strict=True)) if asked else {}


def _own_lists(
    tx: Transaction, changes: tuple[TagSetChange, ...], registered: set[_Set]
) -> dict[_Set, Queues]:
    """The sets of changed nodes' own tags that are announced, each with its full list.

    What a tag leads to is read once, however many sets have it. A node without tags has what changed for a list.
    """
    bearers = _own(changes)
    sets = sorted(each for each in bearers.keys() - registered if each.key.tags)
    parts = {each: _by_tag(each) for each in sets}
    found = _lists(tx, sorted({one for ones in parts.values() for one in ones}))
    sizes = {each: sum(len(found[one]) for one in ones) for each, ones in parts.items()}
    told: dict[_Set, Queues] = {}
    left, unheard = OWN_LISTS_MAX, {change.topic for change in changes}
    for each in sorted(sets, key=lambda each: (sizes[each], each)):
        if sizes[each] > left and unheard.isdisjoint(bearers[each]):
            continue
        united = {queue.topic: queue for one in parts[each] for queue in found[one]}
        told[each] = tuple(queue for _, queue in sorted(united.items()))
        left -= len(united)
        unheard.difference_update(united, bearers[each])
    return told | {each: tuple(_untagged(each, changes)) for each in bearers if not each.key.tags}


def _by_tag(each: _Set) -> list[_Set]:
    """One set for each of its tags."""
    return [msgspec.structs.replace(each, key=TagSetKey((tag,), each.key.interval)) for tag in each.key.tags]


def _untagged(each: _Set, changes: tuple[TagSetChange, ...]) -> Iterable[TaggedQueue]:
    for change in sorted(changes, key=lambda change: change.topic):
        if change.before == change.after == () and (change.namespace, change.interval) == (
            each.namespace,
            each.key.interval,
        ):
            yield TaggedQueue(change.topic, change.global_, ())
