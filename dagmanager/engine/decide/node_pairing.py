"""Which node of the previous version a node replaces (docs/semantics.md 3, last paragraph).

By id; then by `name` and `node_type`; then by position among the unpaired of equal `code_hash`. A new
queue inherits the TTL of its predecessor's queue by this; the reasons why a node is new will too.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec


class Paired(msgspec.Struct, frozen=True):
    """What pairing looks at, for either side; sequences are in DAG order."""

    node_id: str
    name: str
    node_type: str
    code_hash: str


def pair(new: Sequence[Paired], old: Sequence[Paired]) -> dict[str, str]:
    """The old node's id by the new node's id; nodes that were added are left out."""
    kept = {node.node_id for node in new} & {node.node_id for node in old}
    left_new = [node for node in new if node.node_id not in kept]
    left_old = [node for node in old if node.node_id not in kept]
    named = _in_turn(
        [(_name(node), node.node_id) for node in left_new if node.name],
        [(_name(node), node.node_id) for node in left_old if node.name],
    )
    taken = frozenset(named.values())
    placed = _in_turn(
        [(node.code_hash, node.node_id) for node in left_new if node.node_id not in named],
        [(node.code_hash, node.node_id) for node in left_old if node.node_id not in taken],
    )
    return {node_id: node_id for node_id in kept} | dict(named) | dict(placed)


def _name(node: Paired) -> tuple[str, str]:
    return node.name, node.node_type


def _in_turn(new: Iterable[tuple[Hashable, str]], old: Iterable[tuple[Hashable, str]]) -> Mapping[str, str]:
    """First with first, second with second, among equals."""
    waiting: defaultdict[Hashable, deque[str]] = defaultdict(deque)
    for key, node_id in old:
        waiting[key].append(node_id)
    return {node_id: waiting[key].popleft() for key, node_id in new if waiting[key]}
