"""The entries of a DAG's list `nodes`: compute nodes, known or new, and VersionSentinel entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dagmanager.dag.field_errors import DETAILS_MAX, SHOWN_MAX, FieldError, wrong_value
from dagmanager.dag.json.exact_json import parse_many
from dagmanager.dag.json.json_scan import JsonProblem
from dagmanager.dag.model import Node
from dagmanager.dag.nodes.node_columns import read_columns
from dagmanager.dag.nodes.node_fields import missing_fields, misspelled_field, read_node
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.nodes.version import SENTINEL
from dagmanager.errors import ErrorCode, FaultCount, Rejection, fault_counts

# Texts parsed together: few enough to stay in the processor's cache from bytes to nodes.
BATCH: Final = 128
# The position of a node, the node as submitted, the names of the required fields that it lacks.
MissingFields = tuple[int, dict[str, Any], list[str]]


class NodeEntries(msgspec.Struct):
    """The entries in submitted order. `nodes` has None in place of each sentinel entry.

    `unproven` pairs the raw bytes of new compute nodes with the node, for the memo.
    """

    nodes: list[Node | None]
    sentinels: list[tuple[int, dict[str, Any]]]
    unproven: list[tuple[bytes, Node]]


class _BrokenEntryError(Exception):
    def __init__(self, position: int, problem: JsonProblem) -> None:
        super().__init__(problem.reason)
        self.position = position
        self.problem = problem


def read_entries(
    raws: list[bytes], memo: NodeMemo, depth_max: int
) -> NodeEntries | Rejection | tuple[int, JsonProblem]:
    """All entries; or the first JSON problem with the position of its entry; or a rejection.

    `depth_max` is for one entry. The rejection lists all invalid values and missing fields; invalid values
    come first.
    """
    nodes = memo.get_many(raws)
    reader = _EntryReader(NodeEntries(nodes, [], []), [], [])
    new = [position for position, node in enumerate(nodes) if node is None]
    try:
        for start in range(0, len(new), BATCH):
            positions = new[start : start + BATCH]
            reader.read(positions, [raws[position] for position in positions], depth_max)
    except _BrokenEntryError as broken:
        return broken.position, broken.problem
    if reader.invalid:
        return _invalid_rejection(reader.invalid, reader.missing)
    return _missing_rejection(reader.missing) if reader.missing else reader.entries


class _EntryReader(msgspec.Struct):
    """What was read so far: entries, rejections of invalid ones, missing fields."""

    entries: NodeEntries
    invalid: list[Rejection]
    missing: list[MissingFields]

    def read(self, positions: list[int], texts: list[bytes], depth_max: int) -> None:
        trees = parse_many(texts, depth_max)
        # All plain, or one by one: which of both was taken must not be visible in the nodes.
        found: Sequence[Node | None] | None = read_columns(trees)
        if found is None:
            found = list(map(self.read_one, positions, trees))
        for position, text, node in zip(positions, texts, found, strict=True):
            if node is not None:
                self.entries.nodes[position] = node
                self.entries.unproven.append((text, node))

    def read_one(self, position: int, tree: Any) -> Node | None:
        if type(tree) is JsonProblem:
            raise _BrokenEntryError(position, tree)
        if type(tree) is not dict:
            self.invalid.append(wrong_value(f"/nodes/{position}", "an object", tree).rejection)
            return None
        if tree.get("node_type") == SENTINEL:
            self.entries.sentinels.append((position, tree))
            return None
        try:
            node = read_node(tree)
        except FieldError as found:
            self.invalid.append(_in_dag(found.rejection, position, tree))
            self._note_missing(position, tree)
            return None
        if not (node.node_id and node.node_type and node.code_hash and node.schema_compat_id):
            self._note_missing(position, tree)
        return node

    def _note_missing(self, position: int, tree: dict[str, Any]) -> None:
        if names := missing_fields(tree):
            self.missing.append((position, tree, names))


def _in_dag(found: Rejection, position: int, tree: dict[str, Any]) -> Rejection:
    """An error inside a node, with a pointer from the top of the DAG and the node's id."""
    prefix = f"/nodes/{position}"
    submitted_id = tree.get("node_id")
    message = found.message if found.message.startswith("/") else f"{found.field}: {found.message}"
    return msgspec.structs.replace(
        found,
        message=prefix + message,
        field=f"{prefix}{found.field}",
        node_id=submitted_id if isinstance(submitted_id, str) and submitted_id else None,
        # An id in another spelling (upper case) is not the one that was computed either.
        counts=_wrong_id(tree) if found.field == "/node_id" else msgspec.UNSET,
    )


def _wrong_id(tree: dict[str, Any]) -> tuple[FaultCount, ...]:
    return fault_counts([(ErrorCode.NODE_ID_MISMATCH, "node_id", tree.get("node_type"))])


def _invalid_rejection(found: list[Rejection], missing: list[MissingFields]) -> Rejection:
    """The first invalid value; all of them, then missing fields, in `details` (of the first 100 nodes each)."""
    first = found[0]
    details: list[dict[str, Any]] = [
        {"code": each.code.value, "field": each.field, "node_id": each.node_id, "message": each.message}
        for each in found[:DETAILS_MAX]
    ]
    details += ({"code": ErrorCode.MISSING_FIELDS.value, **each} for each in _missing_details(missing))
    more = f" ({len(found)} nodes with invalid values in all)" if len(found) > 1 else ""
    if missing:
        more += f" ({_count_lacking(missing)} required fields, see the details)"
    counts = [one for each in found if each.counts is not msgspec.UNSET for one in each.counts]
    return msgspec.structs.replace(
        first,
        message=first.message + more,
        details=tuple(details),
        counts=(*counts, *_missing_counts(missing)),
    )


def _missing_rejection(found: list[MissingFields]) -> Rejection:
    """`missing_fields`: one detail per node and field, for the first 100 nodes."""
    details = _missing_details(found)
    first = details[0]
    near = misspelled_field(found[0][1], first["missing"])
    hint = f" (did you mean `{first['missing']}` where it says `{near[:SHOWN_MAX]}`?)" if near else ""
    message = f"{_count_lacking(found)} required fields; the first is {first['field']}{hint}"
    return Rejection(
        ErrorCode.MISSING_FIELDS,
        message,
        first["field"],
        first["node_id"],
        details=tuple(details),
        counts=_missing_counts(found),
    )


def _missing_counts(found: list[MissingFields]) -> tuple[FaultCount, ...]:
    return fault_counts(
        (ErrorCode.MISSING_FIELDS, name, tree.get("node_type")) for _, tree, names in found for name in names
    )


def _count_lacking(found: list[MissingFields]) -> str:
    return "1 node lacks" if len(found) == 1 else f"{len(found)} nodes lack"


def _missing_details(found: list[MissingFields]) -> list[dict[str, Any]]:
    return [
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
