"""Events for every tag set whose list of queues a change affects, as outbox rows of the same transaction
(docs/semantics.md 8).

For each changed node these are:

- every registered tag query that matches the node before or after the change;
- the node's own tags as an `any` query, because the Gateway may ask for them without registering.

Each event has the full current list. A node without tags is in no tag set: its event lists the
changed queues alone, so that it does not grow with all untagged queues of the graph.

Own tag sets must be bounded. A thousand nodes that share one tag, each with another tag of its own, are a thousand tag
sets with a thousand queues each: hundreds of megabytes in one transaction. So own sets are announced from the shortest
list on until all lists have `OWN_LISTS_MAX` queues; after that only those that list a changed queue which no announced
set has yet. Every changed queue is in one list at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import Locks, TaggedQueue, TagQuestion, Transaction
from dagmanager.engine.model.rows import NodeRow, Row, TagSetKey, TagSetRow
from dagmanager.engine.wire.events import EventStamp, Scope, queue_updated

# Queues in all lists of own sets together, in one transaction: some 2 MB.
OWN_LISTS_MAX: Final = 20_000
Queues = tuple[TaggedQueue, ...]


class TagSetChange(msgspec.Struct, frozen=True):
    """A node whose tag-query results changed in one namespace: it has a new queue, lost one, or got other tags.

    `before` and `after` are its tags, `topic` its queue, `interval` is in seconds.
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


class _TagQuerySet(msgspec.Struct, frozen=True, order=True):
    """A tag set in one match mode and one namespace: what one event is about."""

    key: TagSetKey
    match_mode: str
    namespace: str
    world_id: str
    execution_domain: str


def tag_event_rows(
    tx: Transaction, changes: Iterable[TagSetChange], asked: Iterable[tuple[str, int]], now_ms: int
) -> list[Row]:
    """The outbox rows of these changes, and the revision counters of their tag sets; locks tags and tag sets.

    `asked` are the (tag, interval in seconds) pairs of tag queries that are registered or removed in this transaction.
    Locking them orders this transaction against others that change queues with such a tag: the later one of two sees
    what the earlier did, so that a new query misses no queue.
    """
    changes = tuple(changes)
    affected_tags = {(tag, each.interval) for each in changes for tag in {*each.before, *each.after}}
    tx.lock(Locks(tags=tuple(sorted(affected_tags.union(asked)))))
    registered = _registered(changes, tx.tag_queries(affected_tags) if affected_tags else ())
    # The locks of its tags keep the list of a node's own set from changing.
    own = _own_lists(tx, changes, registered)
    affected = sorted(registered.union(own))
    keys = sorted({each.key for each in affected})
    tx.lock(Locks(tag_sets=tuple(keys)))
    rows: list[Row] = []
    revisions = dict(tx.tag_revisions(keys)) if keys else {}
    # Read under the locks of the sets: a higher revision must never come with an older list.
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
        # The list of untagged queues is partial: a newer event must not replace it, so it has no stream.
        rows.append(event if each.key.tags else msgspec.structs.replace(event, stream=""))
    rows.extend(TagSetRow(key, revision) for key, revision in sorted(revisions.items()))
    return rows


def _own_sets(changes: tuple[TagSetChange, ...]) -> dict[_TagQuerySet, set[str]]:
    """The own tag sets of the changed nodes, before and after the change, each with the changed topics that are in it
    now."""
    members: dict[_TagQuerySet, set[str]] = {}
    for change in changes:
        for tags in {change.before, change.after}:
            if tags or change.before == change.after:
                own = _TagQuerySet(TagSetKey(tags, change.interval), "any", *_scope_of(change))
                members.setdefault(own, set()).update({change.topic} if tags == change.after else ())
    return members


def _registered(changes: tuple[TagSetChange, ...], queries: tuple[NodeRow, ...]) -> set[_TagQuerySet]:
    """The registered tag queries that match a changed node, before or after the change."""
    return {
        _TagQuerySet(TagSetKey(query.tags, change.interval), query.match_mode, *_scope_of(change))
        for change in changes
        for tags in {change.before, change.after}
        for query in _matching(queries, tags, change.interval)
    }


def _scope_of(change: TagSetChange) -> tuple[str, str, str]:
    return change.namespace, change.world_id, change.execution_domain


def _matching(rows: tuple[NodeRow, ...], tags: tuple[str, ...], interval: int) -> Iterable[TagQuery]:
    named = set(tags)
    for row in rows:
        query = row.tag_query
        if query is None or query.interval != interval or not named.intersection(query.tags):
            continue
        if query.match_mode != "all" or named.issuperset(query.tags):
            yield query


def _lists(tx: Transaction, sets: Sequence[_TagQuerySet]) -> dict[_TagQuerySet, Queues]:
    """The full list of each set, in one query."""
    asked = [TagQuestion(each.key.tags, each.key.interval, each.match_mode, each.namespace) for each in sets]
    return dict(zip(sets, tx.tagged_sets(asked), strict=True)) if asked else {}


def _own_lists(
    tx: Transaction, changes: tuple[TagSetChange, ...], registered: set[_TagQuerySet]
) -> dict[_TagQuerySet, Queues]:
    """The own tag sets to announce, each with its list.

    The queues of one tag are read once, however many sets have the tag; a set's list is the union over its tags.
    """
    members = _own_sets(changes)
    sets = sorted(each for each in members.keys() - registered if each.key.tags)
    parts = {each: _by_tag(each) for each in sets}
    found = _lists(tx, sorted({one for ones in parts.values() for one in ones}))
    sizes = {each: sum(len(found[one]) for one in ones) for each, ones in parts.items()}
    chosen: dict[_TagQuerySet, Queues] = {}
    left, unlisted = OWN_LISTS_MAX, {change.topic for change in changes}
    # The shortest lists first: most sets fit then, and the long ones are left out unless they are needed.
    for each in sorted(sets, key=lambda each: (sizes[each], each)):
        if sizes[each] > left and unlisted.isdisjoint(members[each]):
            continue
        united = {queue.topic: queue for one in parts[each] for queue in found[one]}
        chosen[each] = tuple(queue for _, queue in sorted(united.items()))
        left -= len(united)
        unlisted.difference_update(united, members[each])
    return chosen | {each: tuple(_untagged(each, changes)) for each in members if not each.key.tags}


def _by_tag(each: _TagQuerySet) -> list[_TagQuerySet]:
    """The sets of each single tag of a set."""
    return [msgspec.structs.replace(each, key=TagSetKey((tag,), each.key.interval)) for tag in each.key.tags]


def _untagged(each: _TagQuerySet, changes: tuple[TagSetChange, ...]) -> Iterable[TaggedQueue]:
    for change in sorted(changes, key=lambda change: change.topic):
        if change.before == change.after == () and (change.namespace, change.interval) == (
            each.namespace,
            each.key.interval,
        ):
            yield TaggedQueue(change.topic, change.global_, ())
