"""Merging entries of one DAG that are the same node (docs/semantics.md 2)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.dag.model import Node, Notice
from dagmanager.errors import ErrorCode, NoticeCode, Rejection


class MergedNodes(msgspec.Struct):
    """Each id once, in order of first appearance. `id_conflicts` are later nodes under the id of another spec."""

    nodes: list[Node]
    notices: list[Notice]
    id_conflicts: list[Node]


def merge_duplicates(nodes: Iterable[Node]) -> MergedNodes | Rejection:
    """One node per id: tags and names are merged with a notice; different `schema_hash` values are refused.

    Of two specs under one id at most one can be right: the later ones are returned as `id_conflicts`.
    """
    groups: dict[str, list[Node]] = {}
    id_conflicts: list[Node] = []
    for node in nodes:
        group = groups.setdefault(node.node_id, [])
        if group and group[0].preimage != node.preimage:
            id_conflicts.append(node)
        else:
            group.append(node)
    notices: list[Notice] = []
    merged: list[Node] = []
    for group in groups.values():
        if len(group) == 1:
            merged.append(group[0])
            continue
        conflict = _conflict(group)
        if conflict:
            return conflict
        node = _merged(group)
        merged.append(node)
        notice = _notice(node, group)
        if notice:
            notices.append(notice)
    return MergedNodes(merged, notices, id_conflicts)


def _conflict(group: list[Node]) -> Rejection | None:
    first = group[0]
    hashes = sorted({node.schema_hash for node in group if node.schema_hash})
    if len(hashes) > 1:
        message = f"node {first.node_id} occurs with {len(hashes)} different schema_hash values"
        return _conflicting(first, "schema_hash", message, hashes)
    specs = {_spec(node) for node in group}
    if len(specs) > 1:  # a text with `|` inside: other fields, but the same preimage
        message = f"node {first.node_id} occurs with different fields that have the same hash"
        return _conflicting(first, "node_type", message, sorted(map(repr, specs)))
    return None


def _spec(node: Node) -> tuple[object, ...]:
    """The fields of the preimage as separate values."""
    return (
        node.node_type,
        node.interval,
        node.period,
        node.params_canon,
        node.dependencies,
        node.schema_compat_id,
        node.code_hash,
    )


def _conflicting(node: Node, field: str, message: str, values: list[str]) -> Rejection:
    details = tuple({"node_id": node.node_id, field: value} for value in values[:100])
    return Rejection(
        ErrorCode.CONFLICTING_NODE, message, field, node.node_id, values[0][:200], values[1][:200], details
    )


def _merged(group: list[Node]) -> Node:
    """One node for all: tags merged, names joined with `,`, every artifact once. The order of entries does not matter."""
    artifacts = {
        artifact.path + "\0" + artifact.checksum: artifact for node in group for artifact in node.artifacts
    }
    return msgspec.structs.replace(
        group[0],
        schema_hash=max(node.schema_hash for node in group),
        tags=tuple(sorted({tag for node in group for tag in node.tags})),
        name=",".join(sorted({node.name for node in group if node.name})),
        global_=any(node.global_ for node in group),
        compute_key=",".join(sorted({node.compute_key for node in group if node.compute_key})),
        artifacts=tuple(artifacts[key] for key in sorted(artifacts)),
    )


def _notice(node: Node, group: list[Node]) -> Notice | None:
    appearances = sorted({(", ".join(each.tags), each.name) for each in group})
    if len(appearances) == 1:
        return None
    message = f"{len(group)} entries share this id (tags and names are not part of it): they share one queue"
    details = tuple(f"tags [{tags}], name {name!r}" for tags, name in appearances)
    return Notice(NoticeCode.SAME_ID_DIFFERENT_TAGS, message, node.node_id, details)
