"""Bytes of a DAG to a canonical DAG (docs/semantics.md 2): validated, defaults applied, each id once, no cycle."""

from __future__ import annotations

from typing import Any

import msgspec

from dagmanager.dag.field_errors import (
    DETAILS_MAX,
    FieldError,
    bounded_text,
    escaped_key,
    field_error,
    object_at,
    text_at,
    wrong_value,
)
from dagmanager.dag.hashing import mismatch, node_id, pointers
from dagmanager.dag.json.exact_json import is_utf8, items, members, not_an_object, parse, split_nodes
from dagmanager.dag.json.json_scan import JsonProblem, scan
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import CanonicalDag, Envelope, Node, Notice, UnresolvedContext
from dagmanager.dag.nodes.duplicates import merge_duplicates
from dagmanager.dag.nodes.node_entries import NodeEntries, read_entries
from dagmanager.dag.nodes.node_fields import read_node
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.nodes.topology import external_dependencies, find_cycle
from dagmanager.dag.nodes.version import SENTINEL, traffic_weight, version_label
from dagmanager.dag.record.context import namespace_text
from dagmanager.dag.record.context_fields import read_context
from dagmanager.dag.record.lineage import lineage_of
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

LINEAGE_FIELDS = ("meta.strategy_name", "meta.name")


def canonicalize(
    envelope: Envelope,
    memo: NodeMemo,
    limits: Limits,
    lineage_fields: tuple[str, ...] = LINEAGE_FIELDS,
) -> CanonicalDag | Rejection:
    """The DAG of an envelope, fully validated except for its ids; or the first reason to refuse it.

    Reasons are checked in this order: JSON, size, fields of the DAG, invalid values, missing fields, no compute
    node, conflicting nodes, cycle, one id for two specs, unresolved dependencies (when strict). Nodes in `memo` are not read again.
    """
    try:
        return _canonicalize(envelope, memo, limits, lineage_fields)
    except FieldError as found:
        return found.rejection


def _canonicalize(
    envelope: Envelope, memo: NodeMemo, limits: Limits, lineage_fields: tuple[str, ...]
) -> CanonicalDag:
    head, node_texts = split_dag(envelope.dag, limits)
    entries = _read_nodes(envelope.dag, node_texts, memo, limits)
    sentinels = [(f"/nodes/{position}", entry) for position, entry in entries.sentinels]
    meta = object_at(head, "meta", "")
    version, weight = version_label(sentinels, head, meta), traffic_weight(sentinels)
    lineage, unknown = lineage_of(head, lineage_fields, envelope.strategy_id)
    context = _dag_context(head, meta)
    namespace = namespace_text(meta.get("topic_namespace"))
    domain = bounded_text(text_at(meta, "execution_domain", "/meta") or "", "/meta/execution_domain")
    commit_hash = text_at(head, "commit_hash", "") or text_at(meta, "commit_hash", "/meta") or ""
    text_at(head, "schema_version", "")

    submitted = [node for node in entries.nodes if node is not None] if sentinels else entries.nodes
    if not submitted:
        raise _no_compute_nodes(len(sentinels))
    nodes, ids, notices = _merged(submitted, entries)
    external, unresolved = _checked_edges(nodes, limits)
    # By id, not by position: merging may have moved a new node to the place of its first occurrence.
    fresh_ids = {node.node_id for _, node in entries.unproven}
    return CanonicalDag(
        nodes=tuple(nodes),
        submitted_ids=tuple(ids),
        version=version,
        weight=weight,
        lineage=lineage,
        commit_hash=commit_hash,
        meta_namespace=namespace,
        meta_domain=domain.strip() or None,
        dag_context=context,
        external=external,
        fresh=tuple(at for at, node in enumerate(nodes) if node.node_id in fresh_ids) if fresh_ids else (),
        warnings=tuple([unknown] if unknown else []) + tuple(notices) + unresolved,
        unproven=tuple(entries.unproven),
        sentinel_positions=tuple(position for position, _ in entries.sentinels),
    )


def split_dag(dag: bytes, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """The fields of the DAG itself, decoded, and the raw bytes of each node. Raises `FieldError`."""
    if len(dag) > limits.bytes_max:
        message = f"the DAG has {len(dag)} bytes, the limit is {limits.bytes_max}"
        raise field_error("", message, str(limits.bytes_max), str(len(dag)), ErrorCode.TOO_LARGE)
    if not is_utf8(dag):  # msgspec would pass invalid UTF-8 inside of raw members
        raise FieldError(_problem(scan(dag, limits.depth_max)))
    cut = split_nodes(dag, limits.nodes_max)
    if cut and not isinstance(cut, int):
        head = parse(cut[0], limits.depth_max)
        if isinstance(head, dict) and head.get("nodes") == []:
            return head, cut[1]
    return _split_by_member(dag, limits)


def _split_by_member(dag: bytes, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """`split_dag` member by member: for indented texts, and to find what is invalid and where."""
    found = members(dag, limits.depth_max)
    if isinstance(found, JsonProblem):
        raise FieldError(_problem(found))
    nodes = found.pop("nodes", None)
    head: dict[str, Any] = {}
    for key, raw in found.items():
        value = parse(raw, limits.depth_max - 1)
        if isinstance(value, JsonProblem):
            raise FieldError(_problem(value.within(dag, raw, "/" + escaped_key(key))))
        head[key] = value
    if nodes is None:
        raise field_error("/nodes", "/nodes: the DAG has no nodes", "a list", code=ErrorCode.MISSING_FIELDS)
    node_texts = items(nodes)
    if node_texts is None:
        value = parse(nodes, limits.depth_max - 1)
        if isinstance(value, JsonProblem):
            raise FieldError(_problem(value.within(dag, nodes, "/nodes")))
        raise wrong_value("/nodes", "a list of objects", value)
    if (
        len(node_texts) > limits.nodes_max
        and (count := _compute_nodes(node_texts, limits)) > limits.nodes_max
    ):
        raise _too_many(count, limits)
    return head, node_texts


def _compute_nodes(node_texts: list[bytes], limits: Limits) -> int:
    """How many entries are not VersionSentinel entries; only texts that have the word are parsed."""
    named = [raw for raw in node_texts if SENTINEL.encode() in raw]
    trees = [parse(raw, limits.depth_max) for raw in named]
    free = [tree for tree in trees if isinstance(tree, dict) and tree.get("node_type") == SENTINEL]
    return len(node_texts) - len(free)


def _too_many(count: int, limits: Limits) -> FieldError:
    message = f"/nodes: {count} nodes, the limit is {limits.nodes_max}"
    return field_error("/nodes", message, str(limits.nodes_max), str(count), ErrorCode.TOO_LARGE)


def _problem(found: Any) -> Rejection:
    return (found if isinstance(found, JsonProblem) else not_an_object()).rejection("the DAG")


def _read_nodes(dag: bytes, node_texts: list[bytes], memo: NodeMemo, limits: Limits) -> NodeEntries:
    # Two levels are taken: the DAG object and its list.
    entries = read_entries(node_texts, memo, limits.depth_max - 2)
    if isinstance(entries, Rejection):
        raise FieldError(entries)
    if isinstance(entries, tuple):
        position, problem = entries
        raise FieldError(_problem(problem.within(dag, node_texts[position], f"/nodes/{position}")))
    return entries


def _dag_context(head: dict[str, Any], meta: dict[str, Any]) -> UnresolvedContext:
    """The context that the DAG itself has: each field from `compute_context`, else from `meta.compute_context`."""
    own = read_context(object_at(head, "compute_context", ""), "/compute_context")
    older = read_context(object_at(meta, "compute_context", "/meta"), "/meta/compute_context")
    return UnresolvedContext(
        world_id=own.world_id or older.world_id,
        execution_domain=own.execution_domain or older.execution_domain,
        as_of=own.as_of or older.as_of,
        partition=own.partition or older.partition,
        dataset_fingerprint=own.dataset_fingerprint or older.dataset_fingerprint,
        safe_mode=own.safe_mode or older.safe_mode,
        downgrade_reason=own.downgrade_reason or older.downgrade_reason,
    )


def _merged(submitted: list[Any], entries: NodeEntries) -> tuple[list[Node], list[str], list[Notice]]:
    """Each node once, all ids as submitted, notices. Raises `FieldError` for nodes that cannot be merged."""
    ids = [node.node_id for node in submitted]
    if len(set(ids)) == len(ids):
        return submitted, ids, []
    united = merge_duplicates(submitted)
    if isinstance(united, Rejection):
        raise FieldError(united)
    if united.id_conflicts:
        # In a cycle each id would have to contain a hash of the others, so none is right: name the cycle instead.
        _refuse_cycle(united.nodes)
        sentinels = [position for position, _ in entries.sentinels]
        raise FieldError(mismatch(united.id_conflicts, pointers(ids, sentinels)))
    return united.nodes, ids, united.notices


def _no_compute_nodes(sentinels: int) -> FieldError:
    """An empty version would replace the one in force, and retire a strategy by accident."""
    found = "only VersionSentinel entries" if sentinels else "an empty list"
    message = f"/nodes: the DAG has no compute nodes ({found}); to retire a strategy, release its version"
    return field_error("/nodes", message, "at least one compute node", found)


def _refuse_cycle(nodes: list[Node]) -> None:
    cycle = find_cycle(nodes)
    if not cycle:
        return
    named = {node.node_id: node for node in nodes}
    round_trip = " -> ".join([*cycle[:DETAILS_MAX], cycle[0]])
    cause = f"{len(cycle)} nodes depend on each other" if len(cycle) > 1 else "a node depends on itself"
    message = f"{cause}: {round_trip}"
    details = tuple({"node_id": node_id, "name": named[node_id].name} for node_id in cycle[:DETAILS_MAX])
    raise FieldError(Rejection(ErrorCode.DEPENDENCY_CYCLE, message, "/nodes", cycle[0], details=details))


def _checked_edges(nodes: list[Node], limits: Limits) -> tuple[tuple[str, ...], tuple[Notice, ...]]:
    """External ids, sorted, and one notice per node that depends on some.

    Raises `FieldError` for a cycle, and for external ids if `strict_dependencies`.
    """
    missing, cycle_possible = external_dependencies(nodes)
    if cycle_possible:
        _refuse_cycle(nodes)
    if not missing:
        return (), ()
    external = tuple(sorted({name for names in missing.values() for name in names}))
    if limits.strict_dependencies:
        first = next(iter(missing))
        message = f"{len(missing)} nodes depend on {len(external)} ids that are not in this DAG"
        found = [{"node_id": node, "dependency": name} for node, names in missing.items() for name in names]
        raise FieldError(
            Rejection(
                ErrorCode.UNRESOLVED_DEPENDENCIES,
                message,
                "/nodes",
                first,
                details=tuple(found[:DETAILS_MAX]),
            )
        )
    notices = tuple(
        Notice(
            NoticeCode.UNRESOLVED_DEPENDENCIES, "depends on ids that are not in this DAG", node, tuple(names)
        )
        for node, names in missing.items()
    )
    return external, notices


def parse_node_json(raw: bytes) -> Node | Rejection:
    """The canonical node of one node object, with its computed id; required fields may be absent.

    A `node_id` in the object is ignored: callers want to know the id.
    """
    tree = parse(raw, Limits().depth_max)
    if isinstance(tree, JsonProblem):
        return tree.rejection()
    if not isinstance(tree, dict):
        return wrong_value("", "a node object", tree).rejection
    tree.pop("node_id", None)
    try:
        node = read_node(tree)
    except FieldError as found:
        return found.rejection
    return msgspec.structs.replace(node, node_id=node_id(node.preimage))
