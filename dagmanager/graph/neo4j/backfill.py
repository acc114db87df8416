"""Fill `schema_compat_id` of old compute nodes from its former name, `schema_id` (docs/requirements.md M2)."""

from __future__ import annotations

from typing import Final, LiteralString, NamedTuple

import neo4j

BATCH_ROWS: Final = 10_000

_TO_FILL: Final[LiteralString] = (
    "MATCH (c:ComputeNode) WHERE (c.schema_compat_id IS NULL OR c.schema_compat_id = '')"
    " AND c.schema_id IS NOT NULL AND c.schema_id <> '' "
)
_COUNTS: Final[LiteralString] = """
MATCH (c:ComputeNode)
WITH nullIf(c.schema_compat_id, '') AS new, nullIf(c.schema_id, '') AS old, c.row IS NULL AS stub
RETURN count(*) AS nodes,
       count(CASE WHEN new IS NULL AND old IS NOT NULL THEN 1 END) AS wanting,
       count(CASE WHEN new <> old THEN 1 END) AS differing,
       count(CASE WHEN stub THEN 1 END) AS without_row
"""
_FILL: Final[LiteralString] = (
    _TO_FILL
    + "CALL (c) { SET c.schema_compat_id = c.schema_id } IN TRANSACTIONS OF $rows ROWS RETURN count(c) AS filled"
)


class BackfillCounts(NamedTuple):
    """Numbers of compute nodes: all, to fill, with two different values, and not written by this product."""

    nodes: int
    wanting: int
    differing: int
    without_row: int


def count(session: neo4j.Session) -> BackfillCounts:
    """Count what `fill` would change. Only reads."""
    found = session.run(_COUNTS).single(strict=True)
    return BackfillCounts(found["nodes"], found["wanting"], found["differing"], found["without_row"])


def fill(session: neo4j.Session, batch_rows: int = BATCH_ROWS) -> int:
    """Fill in transactions of `batch_rows` nodes; returns how many were filled.

    Idempotent: after a crash whole batches are done, and the next call does the rest. Overwrites nothing: a node
    with both properties keeps both. Blocks until all are done.
    """
    return int(session.run(_FILL, rows=batch_rows).single(strict=True)["filled"])
