"""Every statement that writes: locks, puts with their relationships, deletes.

Every node of a DAG has the label `DagNode`, by which it is locked and linked. It is a `ComputeNode` from when its row is
written, and an `ExternalNode` (a key, without `row`) as long as others only refer to it. One label with one unique
constraint for both: with two, a transaction that writes a node and one that depends on it could each create their own.
Other rows that are referred to before they are written are stubs: a label and a key, without `row`. Relationships are
replaced only when the digest of what a row links to (`links`, `tag_links`) differs from the stored one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, LiteralString

from dagmanager.engine.model.rows import (
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    Row,
    TagSetRow,
)
from dagmanager.engine.model.version_rows import HolderRow, LineageRow, SentinelRow
from dagmanager.errors import ConstraintError
from dagmanager.graph.neo4j.reads import CLAIMS, KNOWN, TAG_QUERIES, WAITING_EVENTS
from dagmanager.graph.neo4j.row_mapping import Properties, key_of, parameters

Run = Callable[[LiteralString, Properties], list[Any]]
CHUNK: Final = 2_000

# Neo4j has no lock statement, but setting any property locks the node until the transaction ends. (Removing an absent
# property does not.) Rows are locked on the node that is written later; `Lock` nodes stand for what has no row.
LOCKS: Final[dict[str, LiteralString]] = {
    "lock_lineages": "CALL () { UNWIND $p.lock_lineages AS k MERGE (x:Lineage {key: k}) SET x.lock = true }\n",
    "lock_nodes": "CALL () { UNWIND $p.lock_nodes AS k MERGE (x:DagNode {node_id: k}) ON CREATE SET x:ExternalNode SET x.lock = true }\n",
    "lock_counters": "CALL () { UNWIND $p.lock_counters AS k MERGE (x:Counter {key: k}) SET x.lock = true }\n",
    "lock_tags": "CALL () { UNWIND $p.lock_tags AS k MERGE (x:Lock {key: k}) SET x.lock = true }\n",
    "lock_tag_sets": "CALL () { UNWIND $p.lock_tag_sets AS k MERGE (x:TagSet {key: k}) SET x.lock = true }\n",
    "lock_single": "CALL () { UNWIND $p.lock_single AS k MERGE (x:Lock {key: k}) SET x.lock = true }\n",
}
_LOCKED: Final[LiteralString] = """
RETURN [] AS counters, [] AS tag_sets, datetime.realtime().epochMillis AS now
"""
_LOCKED_VALUES: Final[LiteralString] = """
RETURN
  COLLECT { UNWIND $p.lock_counters AS k MATCH (x:Counter {key: k}) RETURN [k, x.value] } AS counters,
  COLLECT { UNWIND $p.lock_tag_sets AS k MATCH (x:TagSet {key: k}) RETURN [k, x.revision] } AS tag_sets,
  datetime.realtime().epochMillis AS now
"""


def locking(kinds: Iterable[str], question: LiteralString = "") -> LiteralString:
    """A statement that takes locks of these kinds, in the order of docs/semantics.md 6, and then reads `question`.

    Without a question it returns the server's clock and the values of locked counters and tag sets. Only the kinds
    needed: the server plans each kind in every statement.
    """
    wanted = set(kinds)
    locks: LiteralString = ""
    for kind, lock in LOCKS.items():
        if kind in wanted:
            locks += lock
    values = _LOCKED_VALUES if wanted.intersection({"lock_counters", "lock_tag_sets"}) else _LOCKED
    return locks + (question or values)


# The compare-and-set of `insert_holder` in one statement: lock the lineage, compare everything that the decision was made from,
# insert holder and outcome. No row is returned, and nothing written, when anything differs.
ADD_HOLDER: Final[LiteralString] = """
MATCH (l:Lineage {key: $p.lineage}) WHERE l.row IS NOT NULL
SET l.lock = true
WITH l
WHERE COLLECT { MATCH (s:VersionSentinel {lineage_key: $p.lineage}) RETURN s.row ORDER BY s.version, s.revision }
      = $p.sentinels
  AND coalesce(head(COLLECT { MATCH (c:Counter {key: 'epoch'}) RETURN c.value }), 0) = $p.epoch
  AND NOT EXISTS { MATCH (h:Holder {key: $p.holder.key}) WHERE h.row IS NOT NULL }
  AND NOT EXISTS { MATCH (o:Outcome {key: $p.outcome.key}) WHERE o.row IS NOT NULL }
MATCH (s:VersionSentinel {key: $p.holder.p.sentinel})
WITH l, s, $p.lineage_row.p AS new, coalesce(l.last_partition, 0) AS partition, coalesce(l.last_position, 0) AS position
FOREACH (_ IN CASE WHEN l.last_at < new.last_at OR (l.last_at = new.last_at
  AND (partition < new.last_partition OR (partition = new.last_partition AND position < new.last_position)))
  THEN [true] ELSE [] END | SET l += new)
CREATE (h:Holder {key: $p.holder.key}) SET h += $p.holder.p
CREATE (h)-[:HOLDS]->(s)
CREATE (o:Outcome {key: $p.outcome.key}) SET o += $p.outcome.p
RETURN true AS held
"""

RAISE_EPOCH: Final[LiteralString] = """
MERGE (c:Counter {key: 'epoch'}) SET c.lock = true
WITH c SET c.value = coalesce(c.value, 0) + 1
RETURN c.value AS value
"""

# Links of a node are nearly always written once: in this statement, together with it. Nodes whose links changed are
# returned, and linked again by further statements. Queues come after nodes because they copy their interval.
_PUT_NODES_AND_QUEUES: Final[LiteralString] = """
CALL () {
  UNWIND $p.put_nodes AS r
  MERGE (n:DagNode {node_id: r.key})
  SET n:ComputeNode
  REMOVE n:ExternalNode
  WITH n, r, n.links AS links, n.tag_links AS tag_links
  SET n += r.p
  FOREACH (_ IN CASE WHEN links IS NULL THEN [true] ELSE [] END |
    FOREACH (id IN r.dependencies | MERGE (d:DagNode {node_id: id}) ON CREATE SET d:ExternalNode CREATE (n)-[:DEPENDS_ON]->(d))
    FOREACH (key IN r.asks | CREATE (n)-[:ASKS]->(:QueryOf {key: key}))
    FOREACH (a IN r.artifacts | MERGE (x:Artifact {key: a.key}) SET x += a.p CREATE (x)-[:USED_BY]->(n)))
  FOREACH (_ IN CASE WHEN tag_links IS NULL THEN [true] ELSE [] END |
    FOREACH (key IN r.tagged | CREATE (n)-[:TAGGED]->(:TagOf {key: key})))
  WITH r, links IS NOT NULL AND links <> coalesce(r.p.links, '') AS relink,
       tag_links IS NOT NULL AND tag_links <> coalesce(r.p.tag_links, '') AS retag
  WHERE relink OR retag
  RETURN collect({key: r.key, relink: relink, retag: retag}) AS changed
}
CALL () {
  UNWIND $p.put_queues AS r
  MERGE (q:Queue {topic: r.key})
  WITH q, r, q.binding AS before
  SET q += r.p
  FOREACH (_ IN CASE WHEN before IS NULL THEN [true] ELSE [] END |
    MERGE (n:DagNode {node_id: r.node_id}) ON CREATE SET n:ExternalNode
    CREATE (n)-[:EMITS]->(q)
    SET q.interval = n.interval)
  WITH r, before WHERE before <> r.p.binding
  RETURN collect(r.p.topic_folded) AS taken
}
RETURN changed, taken
"""
_UNLINK_NODES: Final[LiteralString] = """
UNWIND $p.keys AS k MATCH (n:ComputeNode {node_id: k})
CALL (n) { MATCH (n)-[d:DEPENDS_ON]->() DELETE d }
CALL (n) { MATCH (n)-[:ASKS]->(t:QueryOf) DETACH DELETE t }
CALL (n) { MATCH (n)<-[u:USED_BY]-() DELETE u }
"""
_LINK_NODES: Final[LiteralString] = """
UNWIND $p.rows AS r MATCH (n:ComputeNode {node_id: r.key})
FOREACH (id IN r.dependencies | MERGE (d:DagNode {node_id: id}) ON CREATE SET d:ExternalNode CREATE (n)-[:DEPENDS_ON]->(d))
FOREACH (key IN r.asks | CREATE (n)-[:ASKS]->(:QueryOf {key: key}))
FOREACH (a IN r.artifacts | MERGE (x:Artifact {key: a.key}) SET x += a.p CREATE (x)-[:USED_BY]->(n))
"""
_UNTAG: Final[LiteralString] = """
UNWIND $p.keys AS k MATCH (n:ComputeNode {node_id: k})-[:TAGGED]->(t:TagOf) DETACH DELETE t
"""
_TAG: Final[LiteralString] = """
UNWIND $p.rows AS r MATCH (n:ComputeNode {node_id: r.key})
UNWIND r.tagged AS key CREATE (n)-[:TAGGED]->(:TagOf {key: key})
"""
# All kinds that no constraint can refuse, in one round trip. A kind without rows costs nothing.
_PUT_OTHERS: Final[LiteralString] = """
CALL () {
  UNWIND $p.put_contents AS r
  MERGE (c:DagContent {digest: r.key})
  WITH c, r, c.links AS links
  SET c += r.p
  WITH c, r, links WHERE links IS NULL OR links <> r.p.links
  CALL (c) { MATCH (c)-[m:CONTAINS]->() DELETE m }
  UNWIND r.members AS m
  MERGE (n:DagNode {node_id: m.node_id}) ON CREATE SET n:ExternalNode
  CREATE (c)-[e:CONTAINS]->(n) SET e = m.p
}
CALL () {
  UNWIND $p.put_sentinels AS r
  MERGE (s:VersionSentinel {key: r.key})
  WITH s, r, s.links AS links
  SET s += r.p
  WITH s, r, links WHERE links IS NULL OR links <> r.p.links
  CALL (s) { MATCH (s)-[e:OF|HAS]->() DELETE e }
  MERGE (c:DagContent {digest: r.content})
  CREATE (s)-[:OF]->(c)
  WITH s, r UNWIND r.introduced AS id
  MERGE (n:DagNode {node_id: id}) ON CREATE SET n:ExternalNode
  CREATE (s)-[:HAS]->(n)
}
CALL () {
  UNWIND $p.put_holders AS r
  MERGE (h:Holder {key: r.key})
  WITH h, r, h.sentinel AS before
  SET h += r.p
  WITH h, r, before WHERE before IS NULL OR before <> r.p.sentinel
  CALL (h) { MATCH (h)-[e:HOLDS]->() DELETE e }
  MERGE (s:VersionSentinel {key: r.p.sentinel})
  CREATE (h)-[:HOLDS]->(s)
}
CALL () { UNWIND $p.put_lineages AS r MERGE (x:Lineage {key: r.key}) SET x += r.p }
CALL () { UNWIND $p.put_tag_sets AS r MERGE (x:TagSet {key: r.key}) SET x += r.p }
CALL () { UNWIND $p.put_outcomes AS r MERGE (x:Outcome {key: r.key}) SET x += r.p }
CALL () { UNWIND $p.put_events AS r MERGE (x:OutboxEvent {key: r.key}) SET x += r.p }
CALL () { UNWIND $p.put_counters AS r MERGE (x:Counter {key: r.key}) SET x += r.p }
"""
_OTHERS: Final[dict[type[Any], str]] = {
    ContentRow: "put_contents",
    SentinelRow: "put_sentinels",
    HolderRow: "put_holders",
    LineageRow: "put_lineages",
    TagSetRow: "put_tag_sets",
    OutcomeRow: "put_outcomes",
    OutboxRow: "put_events",
    CounterRow: "put_counters",
}

# A deleted node that others still point at becomes an `ExternalNode` or a stub again; without relationships it is removed.
_DELETE: Final[dict[type[Any], LiteralString]] = {
    NodeRow: """
UNWIND $p.keys AS k MATCH (n:ComputeNode {node_id: k})
CALL (n) { MATCH (n)-[:ASKS|TAGGED]->(t) DETACH DELETE t }
CALL (n) { MATCH (n)-[e:DEPENDS_ON]->() DELETE e }
CALL (n) { MATCH (n)<-[e:USED_BY]-() DELETE e }
SET n = {node_id: k}, n:ExternalNode
REMOVE n:ComputeNode
WITH n WHERE NOT EXISTS { (n)--() } DELETE n
""",
    ContentRow: """
UNWIND $p.keys AS k MATCH (c:DagContent {digest: k})
CALL (c) { MATCH (c)-[e:CONTAINS]->() DELETE e }
SET c = {digest: k}
WITH c WHERE NOT EXISTS { (c)--() } DELETE c
""",
    SentinelRow: """
UNWIND $p.keys AS k MATCH (s:VersionSentinel {key: k})
CALL (s) { MATCH (s)-[e:OF|HAS]->() DELETE e }
SET s = {key: k}
WITH s WHERE NOT EXISTS { (s)--() } DELETE s
""",
    HolderRow: "UNWIND $p.keys AS k MATCH (x:Holder {key: k}) DETACH DELETE x",
    LineageRow: "UNWIND $p.keys AS k MATCH (x:Lineage {key: k}) DELETE x",
    TagSetRow: "UNWIND $p.keys AS k MATCH (x:TagSet {key: k}) DELETE x",
    OutcomeRow: "UNWIND $p.keys AS k MATCH (x:Outcome {key: k}) DELETE x",
    OutboxRow: "UNWIND $p.keys AS k MATCH (x:OutboxEvent {key: k}) DELETE x",
    CounterRow: "UNWIND $p.keys AS k MATCH (x:Counter {key: k}) DELETE x",
}

# Statements of nearly every new version or new node, planned in advance (`Neo4jGraph.warm_up`).
WARMED_WRITES: Final[tuple[LiteralString, ...]] = (
    *(locking([kind]) for kind in ("lock_nodes", "lock_counters", "lock_tag_sets")),
    locking(["lock_lineages"], KNOWN),
    locking(["lock_nodes"], KNOWN),
    locking(["lock_nodes"], CLAIMS),
    locking(["lock_lineages", "lock_nodes"], CLAIMS),
    locking(["lock_tags"], TAG_QUERIES),
    locking(["lock_single"], WAITING_EVENTS),
    ADD_HOLDER,
    _PUT_NODES_AND_QUEUES,
    _PUT_OTHERS,
    _DELETE[OutboxRow],
)


def put(run: Run, rows: Sequence[Row]) -> None:
    """Insert or replace rows, each key once, with their relationships. Nodes go before queues, which copy their interval.

    `ConstraintError` for a unique name of another row, and for a topic of another binding.
    """
    others: dict[str, list[Properties]] = {}
    named: dict[type[Any], list[Properties]] = {NodeRow: [], QueueRow: []}
    for row in rows:
        kind = type(row)
        (named[kind] if kind in named else others.setdefault(_OTHERS[kind], [])).append(parameters(row))
    nodes, queues = named.values()
    for start in range(0, len(nodes) + len(queues), CHUNK):
        # One sequence, nodes then queues, cut into chunks: this chunk's part of the queues.
        part = slice(max(start - len(nodes), 0), max(start + CHUNK - len(nodes), 0))
        _put_nodes_and_queues(run, nodes[start : start + CHUNK], queues[part])
    if others:
        run(_PUT_OTHERS, {key: others.get(key, []) for key in _OTHERS.values()})


def delete(run: Run, rows: Sequence[Row]) -> None:
    """Delete rows by key; absent ones are ignored."""
    for kind, chunk in _by_kind(rows):
        run(_DELETE[kind], {"keys": [key_of(row) for row in chunk]})


def _put_nodes_and_queues(run: Run, nodes: list[Properties], queues: list[Properties]) -> None:
    found = run(_PUT_NODES_AND_QUEUES, {"put_nodes": nodes, "put_queues": queues})[0]
    if found["taken"]:
        raise ConstraintError(min(found["taken"]))
    by_key = {one["key"]: one for one in nodes}
    for which, undo, redo in (("relink", _UNLINK_NODES, _LINK_NODES), ("retag", _UNTAG, _TAG)):
        if keys := [each["key"] for each in found["changed"] if each[which]]:
            run(undo, {"keys": keys})
            run(redo, {"rows": [by_key[key] for key in keys]})


def _by_kind(rows: Sequence[Row]) -> Iterable[tuple[type[Any], Sequence[Row]]]:
    groups: dict[type[Any], list[Row]] = {}
    for row in rows:
        groups.setdefault(type(row), []).append(row)
    for kind, group in groups.items():
        for start in range(0, len(group), CHUNK):
            yield kind, group[start : start + CHUNK]
