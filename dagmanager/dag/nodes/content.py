"""Digests of what was submitted (docs/semantics.md 2). Bare lower-case hex, so that none is mistaken for a node id.

Each digest is BLAKE3 of a JSON list of texts and numbers, written by orjson: JSON quotes every part, so
two different inputs never give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from blake3 import blake3

from dagmanager.dag.model import ComputeContext, Node, Origin


def content_digest(nodes: Sequence[Node]) -> str:
    """Of the set of (node_id, schema_hash, sorted tags, name), 64 hex digits; order does not matter.

    Each node once, as in a canonical DAG.
    """
    rows = {node.node_id: (node.node_id, node.schema_hash, node.tags, node.name) for node in nodes}
    return blake3(orjson.dumps([rows[node_id] for node_id in sorted(rows)])).hexdigest()


def submission_digest(
    content: str, strategy_id: str, version: str, weight: float | None, context: ComputeContext
) -> str:
    """Of content digest, strategy, label, weight and the whole resolved context, 64 hex digits."""
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
    """Of a submission digest and where it came from: a replay has the same, a resend another."""
    parts = [digest, origin.source, origin.source_id, origin.partition, origin.position]
    return blake3(orjson.dumps(parts)).hexdigest()
