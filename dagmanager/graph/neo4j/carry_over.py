"""What changes in a Neo4j database of an older model (`dagmanager.graph.model_version`)."""

from __future__ import annotations

from typing import Final, LiteralString

import neo4j

from dagmanager.graph.model_version import ModelStep

BATCH_ROWS: Final = 10_000

# Model 1 had no label `DagNode`, and a node that others only depend on was a `ComputeNode` without properties. A
# `ComputeNode` of another program has properties of its own and stays one.
_EXTERNAL_NODES: Final[LiteralString] = """
MATCH (n:ComputeNode) WHERE NOT n:DagNode
CALL (n) {
  SET n:DagNode
  WITH n
  WHERE n.row IS NULL AND n.code_hash IS NULL AND n.node_type IS NULL
  REMOVE n:ComputeNode SET n:ExternalNode
} IN TRANSACTIONS OF $rows ROWS
"""


def _external_nodes(session: neo4j.Session) -> None:
    session.run(_EXTERNAL_NODES, rows=BATCH_ROWS).consume()


STEPS: Final[tuple[ModelStep[neo4j.Session], ...]] = (ModelStep(2, _external_nodes),)
