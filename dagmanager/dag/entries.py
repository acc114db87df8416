"""The entries of `nodes`, each read once: known by their bytes, compute nodes, sentinel entries."""

from __future__ import annotations

from itertools import compress
from typing import Any

import msgspec

from dagmanager.dag.exact_json import parse_many
from dagmanager.dag.findings import DETAILS_MAX, FieldError, wrong
from dagmanager.dag.json_scan import JsonProblem
from dagmanager.dag.model import Node
from dagmanager.dag.node_columns import read_columns
from dagmanager.dag.node_fields import missing_fields, read_node
from dagmanager.dag.node_memo import NodeMemo
from dagmanager.dag.params import TAG_QUERY
from dagmanager.dag.version import SENTINEL
from dagmanager.errors import ErrorCode, Rejection


class Entries(msgspec.Struct):
    """What the list `nodes` holds. `nodes` has None where a sentinel entry stands, in submitted order."""

    nodes: list[Node | None]
    sentinels: list[tuple[int, dict[str, Any]]]
    unproven: list[tuple[bytes, Node]]


def read_entries(
    raws: list[bytes], memo: NodeMemo, depth_max: int
) -> Entries | Rejection | tuple[int, JsonProblem]:
    """Every entry of `nodes`; the first JSON problem with its entry, else all wrong and missing fields.

    `depth_max` is what is left for one entry. Wrong values go before missing ones.
    """
    nodes = memo.known(raws)
    entries = Entries(nodes, [], [])
    wrongs: list[Rejection] = []
    missing: list[tuple[int, dict[str, Any], list[str]]] = []
    new = [position for position, node in enumerate(nodes) if node is None]
    trees = parse_many([raws[at] for at in new], depth_max)
    plain = _plain_nodes(trees)
    for position, tree, quick in zip(new, trees, plain, strict=True):
        if quick is not None:
            nodes[position] = quick
            entries.unproven.append((raws[position], quick))
        elif type(tree) is JsonProblem:
            return position, tree
        elif type(tree) is not dict:
            wrongs.append(wrong(f"/nodes/{position}", "an object", tree).rejection)
        elif tree.get("node_type") == SENTINEL:
            entries.sentinels.append((position, tree))
        else:
            try:
                node = read_node(tree)
            except FieldError as found:
                wrongs.append(_placed(found.rejection, position, tree))
                continue
            if not (node.node_id and node.node_type and node.code_hash and node.schema_compat_id):
                missing.append((position, tree, missing_fields(tree)))
            nodes[position] = node
            entries.unproven.append((raws[position], node))
    if wrongs:
        return _all_wrong(wrongs)
    return _all_missing(missing) if missing else entries


def _plain_nodes(trees: list[Any]) -> list[Node | None]:
    """The node of each plain compute node, read as one batch; None for all else, to be read one by one."""
    ordinary = [type(tree) is dict and tree.get("node_type") not in _ONE_BY_ONE for tree in trees]
    batch = read_columns(list(compress(trees, ordinary)))
    if batch is None:
        return [None] * len(trees)
    quick = iter(batch)
    return [next(quick) if plain else None for plain in ordinary]


_ONE_BY_ONE = (SENTINEL, TAG_QUERY)


def _placed(found: Rejection, position: int, tree: dict[str, Any]) -> Rejection:
    """A finding inside a node, told from the DAG's top and with the node's id."""
    prefix = f"/nodes/{position}"
    given = tree.get("node_id")
    message = found.message if found.message.startswith("/") else f"{found.field}: {found.message}"
    return msgspec.structs.replace(
        found,
        message=prefix + message,
        field=f"{prefix}{found.field}",
        node_id=given if isinstance(given, str) and given else None,
    )


def _all_wrong(found: list[Rejection]) -> Rejection:
    """The first wrong value, the others (first 100 in all) in `details`."""
    first = found[0]
    details = tuple(
        {"code": each.code.value, "field": each.field, "node_id": each.node_id, "message": each.message}
        for each in found[:DETAILS_MAX]
    )
    more = f" ({len(found)} nodes with wrong values in all)" if len(found) > 1 else ""
    return msgspec.structs.replace(first, message=first.message + more, details=details)


def _all_missing(found: list[tuple[int, dict[str, Any], list[str]]]) -> Rejection:
    """`missing_fields`: one detail per node and field, for the first 100 nodes."""
    details: list[dict[str, Any]] = [
        {
            "field": f"/nodes/{position}/{name}",
            "missing": name,
            "node_id": tree.get("node_id") or None,
            "node_type": tree.get("node_type") or "",
            "name": tree.get("name") or "",
        }
        for position, tree, names in found[:DETAILS_MAX]
        for name in names
    ]
    first = details[0]
    counted = "1 node lacks" if len(found) == 1 else f"{len(found)} nodes lack"
    message = f"{counted} required fields; the first is {first['field']}"
    return Rejection(
        ErrorCode.MISSING_FIELDS, message, first["field"], first["node_id"], details=tuple(details)
    )
