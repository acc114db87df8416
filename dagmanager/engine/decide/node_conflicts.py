"""One id, one spec: whether the graph has another spec under a submitted id (docs/semantics.md 3, One id, one spec)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dagmanager.dag.hashing import collision_id, node_id
from dagmanager.dag.model import Node, Submission
from dagmanager.engine.model.rows import NodeRow
from dagmanager.errors import ErrorCode, Rejection, fault_counts

_SPEC: Final = (
    "node_type",
    "interval",
    "period",
    "params_canon",
    "dependencies",
    "schema_compat_id",
    "code_hash",
)
SHOWN_MAX: Final = 200


def smaller_ids(node: Node) -> tuple[str, ...]:
    """The ids that must belong to other specs before this one may use its own: the plain id, and each smaller `n`."""
    if not node.collision:
        return ()
    return (node_id(node.preimage), *(collision_id(node.preimage, n) for n in range(1, node.collision)))


def has_other_spec(node: Node, row: NodeRow) -> bool:
    """Whether the stored node differs in a field of `_SPEC`. Written out, and so twice as fast: it is asked for every node
    of every submission."""
    return (
        node.code_hash != row.code_hash
        or node.node_type != row.node_type
        or node.params_canon != row.params_canon
        or node.dependencies != row.dependencies
        or node.interval != row.interval
        or node.period != row.period
        or node.schema_compat_id != row.schema_compat_id
    )


def conflict(submission: Submission, rows: Mapping[str, NodeRow]) -> Rejection | None:
    """Why a node of this submission may not have its id; None when all may.

    A node that only safe mode knows, or whose topic was refused, holds no id against others.
    """
    nodes = submission.dag.nodes
    own: dict[str, Node] = {}  # built at the first collision, which hardly any DAG has
    for node in nodes:
        row = rows.get(node.node_id)
        if row is not None and has_other_spec(node, row) and not row.is_provisional:
            return _other_spec(node, row)
        if node.collision:
            own = own or {each.node_id: each for each in nodes}
            for number, smaller in enumerate(smaller_ids(node)):
                if not _is_of_another(node, rows.get(smaller), own.get(smaller)):
                    return _needless(node, smaller, number)
    return None


def _is_of_another(node: Node, row: NodeRow | None, beside: Node | None) -> bool:
    """Whether a stored node, or one beside it in the DAG, has this id for another spec."""
    if row is not None and not row.is_provisional:
        return has_other_spec(node, row)
    return beside is not None and _spec(beside) != _spec(node)


def _spec(node: Node) -> tuple[object, ...]:
    return tuple(getattr(node, name) for name in _SPEC)


def _other_spec(node: Node, row: NodeRow) -> Rejection:
    details = tuple(
        {"field": name, "stored": _shown(getattr(row, name)), "sent": _shown(getattr(node, name))}
        for name in _SPEC
        if getattr(row, name) != getattr(node, name)
    )
    first = details[0]
    return Rejection(
        ErrorCode.CONFLICTING_NODE,
        f"node {node.node_id}: the graph has this id for another spec, which differs in {first['field']}",
        first["field"],
        node.node_id,
        first["stored"],
        first["sent"],
        details,
    )


def _needless(node: Node, smaller: str, number: int) -> Rejection:
    return Rejection(
        ErrorCode.NODE_ID_MISMATCH,
        f"node {node.node_id} is collision id {node.collision} of its spec, but no other spec has "
        f"{'the plain id' if number == 0 else f'collision id {number}'}: use {smaller}",
        "node_id",
        node.node_id,
        smaller,
        node.node_id,
        counts=fault_counts([(ErrorCode.NODE_ID_MISMATCH, "node_id", node.node_type)]),
    )


def _shown(value: object) -> str:
    return str(value)[:SHOWN_MAX]
