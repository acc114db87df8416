"""Which queues and tags a version change affects (docs/semantics.md 7).

A queue is referenced while a pending, active or parked sentinel of its namespace has the queue's node in its content, as
a member or as a dependency of one. References are not counted but looked up, and stored as one mark per queue,
`unreferenced_ms`: only the first reference and the end of the last one write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.model.graph_port import LookupKeys, Transaction
from dagmanager.engine.model.rows import GONE, Binding, ContentRow, QueueRow
from dagmanager.engine.model.version_rows import REFERENCING, SentinelRow, SentinelState


def content_nodes(tx: Transaction, digests: Iterable[str]) -> frozenset[str]:
    """The members of these contents and what they depend on."""
    found = tx.contents(set(digests)).values()
    members = frozenset(member.node_id for content in found for member in content.members)
    return members.union(*(content.outside for content in found))


def nodes_to_lock(
    tx: Transaction, sentinels: Iterable[SentinelRow], arriving: ContentRow | None = None
) -> frozenset[str]:
    """The nodes whose references or tags a change of this lineage may change.

    `sentinels` are all of the lineage, `arriving` is the content of one that is about to be added; the lineage is locked.

    Any version may leave when another is activated, but one always stays. So a node that every referencing version has,
    with the same tags and name, keeps its references and tags whatever happens, and needs no lock: rivals of other lineages
    cannot take them away. In a typical change that is all nodes but a few, and locks are the most expensive part of a
    claim on a server.
    """
    rows = tuple(sentinels)
    contents = dict(tx.contents({row.content for row in rows if row.state in REFERENCING}))
    if arriving is not None:
        contents[arriving.digest] = arriving
    said_of_nodes = [_said_by_node(content) for content in contents.values()]
    every = frozenset().union(*said_of_nodes)
    # Without an active version none is sure to stay: a pending one may fail.
    if not said_of_nodes or not any(row.state is SentinelState.ACTIVE for row in rows):
        return every
    alike = set(said_of_nodes[0].items()).intersection(*(each.items() for each in said_of_nodes[1:]))
    return every.difference(node_id for node_id, _ in alike)


class TagDelta(msgspec.Struct, frozen=True):
    """The tags of one node that a lineage's active versions newly assign, and those that they no longer assign.

    `name` is what a version that became active calls the node, '' when none gives it another name than before. Empty when
    only the membership of the node changed, or its queue is new.
    """

    gained: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    name: str = ""

    def after(self, tags: Iterable[str], still_assigned: Iterable[str]) -> tuple[str, ...]:
        """The node's tags after the change, sorted: tags ∪ gained − (lost − still_assigned).

        `tags` are those before; `still_assigned` are those of `lost` that another active version assigns.
        """
        return tuple(sorted(self.gained.union(tags).difference(self.lost.difference(still_assigned))))


def tag_deltas(
    tx: Transaction, before: Iterable[SentinelRow], after: Iterable[SentinelRow]
) -> dict[str, TagDelta]:
    """The nodes of a lineage's active versions that were added, removed, or got other tags or another name by a change.

    `before` and `after` are all sentinels of the lineage.
    """
    was, now = _active(before), _active(after)
    if was == now:
        return {}
    contents = tx.contents(was | now)
    names = _new_names(contents, was, now)
    old, new = (_tags(contents[each] for each in digests if each in contents) for digests in (was, now))
    deltas = {each: TagDelta(lost=frozenset(tags)) for each, tags in old.items() if each not in new}
    for node_id, tags in new.items():
        other = old.get(node_id)
        if other is None:
            deltas[node_id] = TagDelta(gained=frozenset(tags), name=names.get(node_id, ""))
        elif other != tags or node_id in names:
            gained, lost = frozenset(tags).difference(other), frozenset(other).difference(tags)
            deltas[node_id] = TagDelta(gained, lost, names.get(node_id, ""))
    return deltas


def merge_deltas(changes: Iterable[Mapping[str, TagDelta]]) -> dict[str, TagDelta]:
    """The deltas of several changes of one transaction, by node."""
    merged: dict[str, TagDelta] = {}
    for deltas in changes:
        for node_id, delta in deltas.items():
            other = merged.get(node_id, TagDelta())
            merged[node_id] = TagDelta(
                other.gained | delta.gained, other.lost | delta.lost, delta.name or other.name
            )
    return merged


def mark_referenced(queues: Iterable[QueueRow]) -> list[QueueRow]:
    """Those of these queues that were marked unreferenced, without the mark; tombstones are left out."""
    return [
        msgspec.structs.replace(row, unreferenced_ms=None)
        for row in queues
        if row.unreferenced_ms is not None and row.state not in GONE
    ]


def mark_unreferenced(
    tx: Transaction, node_ids: Iterable[str], namespace: str, now_ms: int
) -> list[QueueRow]:
    """The queues of these nodes that nothing references any more, marked with the time `now_ms`.

    The nodes must be locked: a rival that references one of them again then does so before or after, never in between.
    """
    wanted = sorted(node_ids)
    known = tx.known(LookupKeys(bindings=frozenset(Binding(each, namespace) for each in wanted)))
    # Asked after the change was put: the transaction reads its own writes.
    still = tx.referenced(namespace, wanted)
    # An older mark stays: its TTL counts from the end of the last reference.
    return [
        msgspec.structs.replace(row, unreferenced_ms=now_ms)
        for binding, row in sorted(known.queues.items())
        if binding.node_id not in still and row.unreferenced_ms is None and row.state not in GONE
    ]


def _said_by_node(content: ContentRow) -> dict[str, tuple[tuple[str, ...], str] | None]:
    """Tags and name of each member; None for a node that is only depended on."""
    said = {member.node_id: (member.tags, member.name) for member in content.members}
    return dict.fromkeys(content.outside) | said


def names_in(contents: Iterable[ContentRow]) -> dict[str, str]:
    """The name that these contents give each member; of several the last one."""
    return {member.node_id: member.name for content in contents for member in content.members}


def _new_names(
    contents: Mapping[str, ContentRow], was: frozenset[str], now: frozenset[str]
) -> dict[str, str]:
    """The names that contents which became active give to nodes, where they are other names than before."""
    old = names_in(contents[each] for each in sorted(was) if each in contents)
    new = names_in(contents[each] for each in sorted(now - was) if each in contents)
    return {node_id: name for node_id, name in new.items() if name and name != old.get(node_id)}


def _active(sentinels: Iterable[SentinelRow]) -> frozenset[str]:
    """The contents of the active sentinels."""
    return frozenset(row.content for row in sentinels if row.state is SentinelState.ACTIVE)


def _tags(contents: Iterable[ContentRow]) -> dict[str, tuple[str, ...]]:
    """The members of these contents, each with the sorted union of its tags."""
    found: dict[str, tuple[str, ...]] = {}
    for content in contents:
        tags = {member.node_id: member.tags for member in content.members}
        for node_id in found.keys() & tags.keys():
            tags[node_id] = tuple(sorted({*found[node_id], *tags[node_id]}))
        found.update(tags)
    return found
