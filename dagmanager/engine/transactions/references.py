"""Which queues a version change frees or takes up again (docs/semantics.md 7).

A queue is referenced while the content of a pending, active or parked sentinel of its namespace
contains its node, or a node that depends on it. Only the first reference and the last one write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.model.graph_port import LookupKeys, Transaction
from dagmanager.engine.model.rows import (
    GONE,
    REFERENCING,
    Binding,
    ContentRow,
    QueueRow,
    SentinelRow,
    SentinelState,
)


def content_nodes(tx: Transaction, digests: Iterable[str]) -> frozenset[str]:
    """The nodes of these contents and what they depend on."""
    found = tx.contents(set(digests)).values()
    members = frozenset(member.node_id for content in found for member in content.members)
    return members.union(*(content.outside for content in found))


def nodes_to_lock(
    tx: Transaction, sentinels: Iterable[SentinelRow], arriving: ContentRow | None = None
) -> frozenset[str]:
    """What a change of this lineage must lock: the nodes whose place in it may be another afterwards.

    `sentinels` are all of its versions, `arriving` the content of one that is to come. Any of them may
    leave when another is put in force, but one stays: a node that every one of them has, with the same
    tags, keeps its references and its tags, whatever rivals do (their locks are the lineage's).
    """
    rows = tuple(sentinels)
    contents = dict(tx.contents({row.content for row in rows if row.state in REFERENCING}))
    if arriving is not None:
        contents[arriving.digest] = arriving
    places = [_places(content) for content in contents.values()]
    every = frozenset().union(*places)
    if not places or not any(row.state is SentinelState.ACTIVE for row in rows):
        return every
    alike = set(places[0].items()).intersection(*(each.items() for each in places[1:]))
    return every.difference(node_id for node_id, _ in alike)


class TagDelta(msgspec.Struct, frozen=True):
    """Tags that active versions no longer give a node, or newly do. None of both: it came or went without tags,
    or has a new queue."""

    gained: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()

    def after(self, tags: Iterable[str], kept: Iterable[str]) -> tuple[str, ...]:
        """Its tags in force: those before, and what came; of what was lost here only what others keep."""
        return tuple(sorted(self.gained.union(tags).difference(self.lost.difference(kept))))


def tag_deltas(
    tx: Transaction, before: Iterable[SentinelRow], after: Iterable[SentinelRow]
) -> dict[str, TagDelta]:
    """The nodes that a lineage's active versions hold otherwise after a change: come, gone, or with other tags."""
    was, now = _active(before), _active(after)
    if was == now:
        return {}
    contents = tx.contents(was | now)
    old, new = (_tags(contents[each] for each in digests if each in contents) for digests in (was, now))
    moved = {each: TagDelta(lost=frozenset(tags)) for each, tags in old.items() if each not in new}
    for node_id, tags in new.items():
        other = old.get(node_id)
        if other is None:
            moved[node_id] = TagDelta(gained=frozenset(tags))
        elif other != tags:
            moved[node_id] = TagDelta(frozenset(tags).difference(other), frozenset(other).difference(tags))
    return moved


def merge_deltas(shifts: Iterable[Mapping[str, TagDelta]]) -> dict[str, TagDelta]:
    """Several changes of one transaction as one."""
    found: dict[str, TagDelta] = {}
    for each in shifts:
        for node_id, shift in each.items():
            other = found.get(node_id, TagDelta())
            found[node_id] = TagDelta(other.gained | shift.gained, other.lost | shift.lost)
    return found


def _places(content: ContentRow) -> dict[str, tuple[str, ...] | None]:
    """Each node of a content with its tags; None for one that is only depended on."""
    return dict.fromkeys(content.outside) | {member.node_id: member.tags for member in content.members}


def _active(sentinels: Iterable[SentinelRow]) -> frozenset[str]:
    """The contents in force."""
    return frozenset(row.content for row in sentinels if row.state is SentinelState.ACTIVE)


def _tags(contents: Iterable[ContentRow]) -> dict[str, tuple[str, ...]]:
    """Members of these contents with the sorted union of their tags."""
    found: dict[str, tuple[str, ...]] = {}
    for content in contents:
        tags = {member.node_id: member.tags for member in content.members}
        for node_id in found.keys() & tags.keys():
            tags[node_id] = tuple(sorted({*found[node_id], *tags[node_id]}))
        found.update(tags)
    return found


def mark_referenced(queues: Iterable[QueueRow]) -> list[QueueRow]:
    """Those whose `unreferenced_ms` must be cleared because something references them again; tombstones stay."""
    return [
        msgspec.structs.replace(row, unreferenced_ms=None)
        for row in queues
        if row.unreferenced_ms is not None and row.state not in GONE
    ]


def mark_unreferenced(
    tx: Transaction, node_ids: Iterable[str], namespace: str, now_ms: int
) -> list[QueueRow]:
    """Queue rows of these nodes that nothing references any more, marked with the moment.

    The nodes must be locked: a rival that takes one up again comes before or after, never between.
    """
    wanted = sorted(node_ids)
    known = tx.known(LookupKeys(bindings=frozenset(Binding(each, namespace) for each in wanted)))
    still = tx.referenced(namespace, wanted)
    return [
        msgspec.structs.replace(row, unreferenced_ms=now_ms)
        for binding, row in sorted(known.queues.items())
        if binding.node_id not in still and row.unreferenced_ms is None and row.state not in GONE
    ]
