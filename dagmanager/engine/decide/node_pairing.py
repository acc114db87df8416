"""Pairs the nodes of a version with those of the version before it (docs/semantics.md 3, last paragraph).

By id; else by `name` and `node_type`; else by position among the unpaired nodes of equal `code_hash`. A new node's
queue inherits the TTL of the queue of the node that it is paired with.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec


class PairingNode(msgspec.Struct, frozen=True):
    """The fields of a node that pairing compares."""

    node_id: str
    name: str
    node_type: str
    code_hash: str


def pair(new: Sequence[PairingNode], old: Sequence[PairingNode]) -> dict[str, str]:
    """The old node's id by the new node's id; nodes without a partner are left out. Both sides in DAG order."""
    kept = {node.node_id for node in new} & {node.node_id for node in old}
    left_new = [node for node in new if node.node_id not in kept]
    left_old = [node for node in old if node.node_id not in kept]
    named = _pair_in_order(
        [(_name(node), node.node_id) for node in left_new if node.name],
        [(_name(node), node.node_id) for node in left_old if node.name],
    )
    # The name before the code: an edit changes the code of a node, and hardly ever its name.
    taken = frozenset(named.values())
    placed = _pair_in_order(
        [(node.code_hash, node.node_id) for node in left_new if node.node_id not in named],
        [(node.code_hash, node.node_id) for node in left_old if node.node_id not in taken],
    )
    return {node_id: node_id for node_id in kept} | dict(named) | dict(placed)


def _name(node: PairingNode) -> tuple[str, str]:
    return node.name, node.node_type


def _pair_in_order(
    new: Iterable[tuple[Hashable, str]], old: Iterable[tuple[Hashable, str]]
) -> Mapping[str, str]:
    """Pairs entries of equal keys in order: the first with the first, the second with the second."""
    waiting: defaultdict[Hashable, deque[str]] = defaultdict(deque)
    for key, node_id in old:
        waiting[key].append(node_id)
    return {node_id: waiting[key].popleft() for key, node_id in new if waiting[key]}
