"""A DAG that was edited by hand, with the ids that its nodes have now. Pure.

The id of a node contains those of its inputs, so that one changed node gives another id to all that depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import msgspec

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.nodes.version import SENTINEL
from dagmanager.errors import ErrorCode, Rejection

_READS: Final = ("inputs", "dependencies")


def recompute_ids(nodes: list[Any]) -> dict[str, str] | Rejection:
    """Write into each node object its id, and the ids of the nodes that it reads; the new id by each former one.

    The former `node_id` of a node may be any text, such as a name: it only says which node reads which. References to
    nodes outside of the list, and VersionSentinel entries, stay. Changes `nodes` in place, also when it is refused: for
    a cycle, an invalid node, or two nodes with one former id and other specs.
    """
    new: dict[str, str] = {}
    try:
        order = list(TopologicalSorter(_edges(nodes)).static_order())
    except CycleError as error:
        # graphlib names a cycle against the direction of `inputs`.
        cycle = [
            str(nodes[number].get("name") or nodes[number]["node_id"]) for number in reversed(error.args[1])
        ]
        count = len(cycle) - 1
        what = "a node depends on itself" if count == 1 else f"{count} nodes depend on each other"
        message = f"{what}: {' -> '.join(cycle)}"
        return Rejection(ErrorCode.DEPENDENCY_CYCLE, message, field="/nodes")
    for number in order:
        node = nodes[number]
        for field in _READS:
            if isinstance(node.get(field), list):
                node[field] = [new.get(each, each) if isinstance(each, str) else each for each in node[field]]
        found = parse_node_json(json.dumps(node).encode())
        if isinstance(found, Rejection):
            return _in_node(found, number)
        former = node.get("node_id")
        if isinstance(former, str) and former and new.setdefault(former, found.node_id) != found.node_id:
            message = f"{former!r} is the id of two nodes with other specs: give each a text of its own"
            return Rejection(ErrorCode.CONFLICTING_NODE, message, field=f"/nodes/{number}/node_id")
        node["node_id"] = found.node_id
    return new


def _edges(nodes: list[Any]) -> dict[int, set[int]]:
    """The positions of the nodes that each node reads, by its own position."""
    computing = {number: node for number, node in enumerate(nodes) if _computes(node)}
    places: dict[str, list[int]] = {}
    for number, node in computing.items():
        if isinstance(node.get("node_id"), str):
            places.setdefault(node["node_id"], []).append(number)
    return {
        number: {place for each in _read_by(node) for place in places.get(each, ())}
        for number, node in computing.items()
    }


def _computes(node: object) -> bool:
    return isinstance(node, dict) and node.get("node_type") != SENTINEL


def _read_by(node: dict[str, Any]) -> Iterator[str]:
    for field in _READS:
        found = node.get(field)
        yield from (each for each in (found if isinstance(found, list) else ()) if isinstance(each, str))


def _in_node(found: Rejection, number: int) -> Rejection:
    """The rejection of a node on its own, with its place in the DAG."""
    relative = found.field or ""
    return msgspec.structs.replace(
        found,
        message=found.message.removeprefix(f"{relative}: "),
        field=f"/nodes/{number}{relative}",
    )
