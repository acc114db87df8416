"""What changes in a Neo4j database of an older model (`dagmanager.graph.model_version`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

import neo4j

from dagmanager.graph.model_3 import holder_with_world, is_late, old_holder
from dagmanager.graph.model_3_asks import with_asks
from dagmanager.graph.model_version import ModelStep
from dagmanager.graph.neo4j.row_mapping import decoded, parameters

BATCH_ROWS: Final = 10_000
# A version names all nodes that were new with it: up to 20,000.
BATCH_LINEAGES: Final = 100

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


# In order of key, so that each page begins where the last one ended. A holder has the property `world_id` once it is carried over.
_OLD_HOLDERS: Final[LiteralString] = """
MATCH (h:Holder) WHERE h.key > $after AND h.world_id IS NULL AND h.row IS NOT NULL
WITH h ORDER BY h.key LIMIT $rows
OPTIONAL MATCH (s:VersionSentinel {key: h.sentinel})
RETURN h.key AS key, h.row AS row, s.row AS sentinel ORDER BY key
"""
_PUT_HOLDERS: Final[LiteralString] = """
UNWIND $holders AS r MATCH (h:Holder {key: r.old}) SET h += r.p, h.key = r.key
"""
# The asks of a lineage follow from all of its versions together.
_VERSIONS: Final[LiteralString] = """
MATCH (l:Lineage) WHERE l.key > $after
WITH l ORDER BY l.key LIMIT $rows
RETURN l.key AS key, l.last_at AS last_at_ms,
  COLLECT { MATCH (s:VersionSentinel {lineage_key: l.key}) RETURN s.row } AS versions ORDER BY key
"""
_PUT_VERSIONS: Final[LiteralString] = """
UNWIND $versions AS r MATCH (s:VersionSentinel {key: r.key}) SET s.row = r.p.row
"""
# An older row has no partition and no offset, which are read as 0: the properties say the same.
_PUT_PLACES: Final[LiteralString] = """
UNWIND $keys AS key MATCH (l:Lineage {key: key}) WHERE l.row IS NOT NULL
SET l.last_partition = coalesce(l.last_partition, 0), l.last_position = coalesce(l.last_position, 0)
"""
# A refusal names no topics; the outcomes that do are the large ones.
_OUTCOMES_WITHOUT_TOPICS: Final[LiteralString] = """
MATCH (o:Outcome) WHERE o.key > $after AND o.row IS NOT NULL AND size(o.topics) = 0
RETURN o.key AS key, o.row AS row ORDER BY key LIMIT $rows
"""
_DELETE_OUTCOMES: Final[LiteralString] = "UNWIND $keys AS key MATCH (o:Outcome {key: key}) DELETE o"


def _model_3(session: neo4j.Session) -> None:
    for page in _pages(session, _OLD_HOLDERS):
        holders = [
            {"old": each["key"], **parameters(holder_with_world(old_holder(each["row"]), each["sentinel"]))}
            for each in page
        ]
        session.run(_PUT_HOLDERS, holders=holders).consume()
    for page in _pages(session, _VERSIONS, BATCH_LINEAGES):
        versions = [
            parameters(row)
            for each in page
            for row in with_asks(decoded(each["versions"]), each["last_at_ms"])
        ]
        session.run(_PUT_VERSIONS, versions=versions).consume()
        session.run(_PUT_PLACES, keys=[each["key"] for each in page]).consume()
    for page in _pages(session, _OUTCOMES_WITHOUT_TOPICS):
        late = [each["key"] for each in page if is_late(each["row"])]
        session.run(_DELETE_OUTCOMES, keys=late).consume()


def _pages(
    session: neo4j.Session, statement: LiteralString, rows: int | None = None
) -> Iterator[list[dict[str, Any]]]:
    after = ""
    while page := session.run(statement, after=after, rows=rows or BATCH_ROWS).data():
        yield page
        after = page[-1]["key"]


STEPS: Final[tuple[ModelStep[neo4j.Session], ...]] = (ModelStep(2, _external_nodes), ModelStep(3, _model_3))
