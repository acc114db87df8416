"""Topic names: `{asset}_{node_type}_{short_hash}_{version}` (T-1, docs/semantics.md 4).

A node's base name is chosen once, in the claim that creates the node. A binding's topic is the namespace, the base
name, a safe-mode suffix and `_v{incarnation}`. Both are stored: these rules may change without renaming anything.
Names must differ when folded (`rows.fold`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from typing import Final

import orjson
from blake3 import blake3

from dagmanager.dag.model import ComputeContext, Node
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.plan import Action, CreateNode
from dagmanager.engine.model.rows import Binding, fold

MAX_TOPIC: Final = 249
"""Kafka's limit on a topic name."""

SUFFIX_ROOM: Final = 24
"""Characters that every base name leaves free for `_safe_xxxxxxxx` and `_v{n}`."""

_NOT_ASSET = re.compile(r"[^a-z0-9_-]")
_NOT_TOPIC = re.compile(r"[^A-Za-z0-9._-]")
_SHORT, _STEP, _LONG = 8, 2, 64


def base_name_candidates(node: Node, version: str) -> Iterator[str]:
    """Names to try for a node, shortest hash first, without end.

    The short hash grows from 8 by 2 to 64 digits (T-1); then `_v2`, `_v3`, … are appended to the longest.
    A name that is too long has its asset, type and version shortened; the hash is kept.
    """
    asset = _asset(node.tags)
    kind = _NOT_TOPIC.sub("-", node.node_type) or "node"
    label = _NOT_TOPIC.sub("-", version) or "v1"
    digest = node.node_id.rpartition(":")[2]
    limit = MAX_TOPIC - SUFFIX_ROOM
    name = ""
    for length in range(_SHORT, _LONG + 1, _STEP):
        name = _fitted(asset, kind, digest[:length], label, limit)
        yield name
    # Only reached when 29 names are taken, as by topics of other programs.
    for number in count(2):
        yield f"{name[: limit - 8]}_v{number}"


def needs_base_name(action: Action, known: Known) -> bool:
    """Whether this action gives its node a base name: a new node, and the first shared queue of one that
    only isolated or refused submissions have named (docs/semantics.md 4)."""
    row = known.nodes.get(action.node.node_id)
    return row is None or (row.is_provisional and isinstance(action, CreateNode) and not action.topic)


def choose_base_names(nodes: Sequence[Node], version: str, taken: AbstractSet[str]) -> dict[str, str]:
    """One base name per node id, unique (folded) among themselves and against `taken` (folded).

    The order of `nodes` does not matter. The caller asks the graph which of the chosen names are taken, adds these to
    `taken` and calls again, until none is.
    """
    used: set[str] = set()
    chosen: dict[str, str] = {}
    # Sorted: two processes that claim the same nodes in another order choose the same names, and meet at the same locks.
    for node in sorted(nodes, key=lambda each: each.node_id):
        if node.node_id in chosen:
            continue
        for name in base_name_candidates(node, version):
            folded = fold(name)
            if folded not in used and folded not in taken:
                used.add(folded)
                chosen[node.node_id] = name
                break
    return chosen


def choose_topics(
    wanted: Mapping[Binding, tuple[str, int]], taken: AbstractSet[str]
) -> dict[Binding, tuple[str, int]]:
    """A topic and its incarnation per binding, unique (folded) among themselves and against `taken` (folded).

    `wanted` has each binding's base name and the first incarnation to try. The incarnation grows until the name is
    free; so one may be skipped, and none is used twice.
    """
    used = set(taken)
    chosen: dict[Binding, tuple[str, int]] = {}
    for binding, (base, first) in sorted(wanted.items()):
        for number in count(first):
            name = topic_name(base, binding.namespace, number, binding.safe)
            if fold(name) not in used:
                used.add(fold(name))
                chosen[binding] = name, number
                break
    return chosen


def topic_name(base: str, namespace: str = "", incarnation: int = 1, safe: str = "") -> str:
    """A binding's topic: `{namespace}.{base}_safe_{safe}_v{incarnation}`, without the parts that are empty or 1.

    A node has one base name in all namespaces. Where the topic would pass 249 characters, the end of the base name is
    replaced by 16 digits of its digest. `ValueError` for a namespace that leaves no room; contexts with such a one are
    refused before.
    """
    prefix = f"{namespace}." if namespace else ""
    suffix = f"_safe_{safe}" if safe else ""
    if incarnation > 1:
        suffix += f"_v{incarnation}"
    room = MAX_TOPIC - len(prefix) - len(suffix)
    if len(base) > room:
        # A cut alone could give two nodes one topic.
        mark = blake3(base.encode()).hexdigest(length=8)
        keep = room - len(mark) - 1
        if keep < 1:
            msg = f"namespace of {len(namespace)} characters leaves no room for a topic name"
            raise ValueError(msg)
        base = f"{base[:keep]}-{mark}"
    return f"{prefix}{base}{suffix}"


def safe_suffix(lineage: str, content_digest: str, context: ComputeContext) -> str:
    """8 digits of BLAKE3 over lineage, content digest and the whole context: these share a safe-mode copy."""
    # The whole context: two submissions that differ in any field of it must not read each other's data.
    parts = (
        lineage,
        content_digest,
        context.world_id,
        context.execution_domain,
        context.as_of,
        context.partition,
        context.dataset_fingerprint,
        context.namespace,
        context.safe_mode or "",
    )
    return blake3(orjson.dumps(parts)).hexdigest(length=4)


def _asset(tags: tuple[str, ...]) -> str:
    """The first tag in lower case, reduced to ASCII letters, digits, `_` and `-`; `asset` when nothing is left.

    Without leading `_` and `-`: brokers keep names that begin with `__` for themselves.
    """
    return (_NOT_ASSET.sub("", tags[0].lower()).lstrip("_-") if tags else "") or "asset"


def _fitted(asset: str, kind: str, short_hash: str, label: str, limit: int) -> str:
    """The name. When it is too long, asset, type and version are cut to equal shares; the hash stays."""
    room = limit - len(short_hash) - 3
    parts = (asset, kind, label)
    if sum(map(len, parts)) > room:
        share = room // 3
        while sum(min(len(part), share + 1) for part in parts) <= room:
            share += 1
        asset, kind, label = (part[:share] for part in parts)
    return f"{asset}_{kind}_{short_hash}_{label}"
