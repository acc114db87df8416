"""Digests of a submission (docs/semantics.md 2): lower-case hex without a prefix, so that none looks like a node id.

Each is BLAKE3 of a JSON list, written by orjson. JSON quotes every part, so that different parts never give the same
bytes, as joined texts could.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from blake3 import blake3

from dagmanager.dag.model import ComputeContext, Node, Origin


def content_digest(nodes: Sequence[Node]) -> str:
    """The digest of the set of (node_id, schema_hash, sorted tags, name): 64 hex digits, in any order of nodes.

    Each node occurs once, as in a canonical DAG.
    """
    rows = {node.node_id: (node.node_id, node.schema_hash, node.tags, node.name) for node in nodes}
    return blake3(orjson.dumps([rows[node_id] for node_id in sorted(rows)])).hexdigest()


def attributes_digest(nodes: Sequence[Node]) -> str:
    """A digest of the artifacts and `global` flags of nodes, in any order of nodes; '' if none has any."""
    said = {
        node.node_id: (node.global_, [(each.path, each.checksum) for each in node.artifacts])
        for node in nodes
        if node.global_ or node.artifacts
    }
    return blake3(orjson.dumps(sorted(said.items()))).hexdigest() if said else ""


def submission_digest(
    content: str, strategy_id: str, version: str, weight: float | None, context: ComputeContext
) -> str:
    """The digest of a content digest, strategy, label, weight and resolved context: 64 hex digits."""
    parts = [
        content,
        strategy_id,
        version,
        weight,
        context.world_id,
        context.execution_domain,
        context.as_of,
        context.partition,
        context.dataset_fingerprint,
        context.namespace,
        context.safe_mode,
    ]
    return blake3(orjson.dumps(parts)).hexdigest()


def submission_id(digest: str, origin: Origin) -> str:
    """The digest of a submission digest and its origin: a replay has the same id, a resend another one."""
    parts = [digest, origin.source, origin.source_id, origin.partition, origin.position]
    return blake3(orjson.dumps(parts)).hexdigest()
