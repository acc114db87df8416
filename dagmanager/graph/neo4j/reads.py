"""Every statement that only reads, each served by an index.

Values are passed in one map parameter `p`, never as text of the statement. `tests/graph/neo4j/test_plans.py` checks the
server's plan of each statement here.
"""

from __future__ import annotations

from typing import Final, LiteralString

NOW: Final[LiteralString] = "RETURN datetime.realtime().epochMillis AS now"

KNOWN: Final[LiteralString] = """
RETURN
  COLLECT { UNWIND $p.nodes AS k MATCH (n:ComputeNode {node_id: k}) RETURN n.row } AS nodes,
  COLLECT { UNWIND $p.bindings AS k MATCH (q:Queue {binding: k}) RETURN q.row } AS queues,
  COLLECT { UNWIND $p.lineages AS k MATCH (l:Lineage {key: k}) RETURN l.row } AS lineages,
  COLLECT { UNWIND $p.lineages AS k MATCH (s:VersionSentinel {lineage_key: k}) RETURN s.row } AS sentinels,
  COLLECT { UNWIND $p.holders AS k MATCH (h:Holder {key: k}) RETURN h.row } AS holders,
  COLLECT { UNWIND $p.outcomes AS k MATCH (o:Outcome {key: k}) RETURN o.row } AS outcomes,
  COLLECT { UNWIND $p.outcomes AS k MATCH (o:Outcome {key: k}) UNWIND o.topics AS t
            MATCH (q:Queue {topic: t}) RETURN q.row } AS outcome_queues,
  COLLECT { MATCH (c:Counter {key: 'epoch'}) RETURN c.value } AS epoch,
  COUNT { UNWIND $p.safe AS k MATCH (q:Queue {safe_live: k}) RETURN q } AS safe_topics,
  datetime.realtime().epochMillis AS now
"""

TAGGED: Final[LiteralString] = """
UNWIND $p.asked AS a
CALL (a) {
  UNWIND a.keys AS k
  MATCH (t:TagOf {key: k})<-[:TAGGED]-(n:ComputeNode)
  WITH a, n, count(*) AS hits WHERE hits >= a.need
  MATCH (n)-[:EMITS]->(q:Queue) WHERE q.namespace = a.namespace AND q.safe = ''
  WITH n, q ORDER BY q.incarnation DESC
  WITH n, head(collect(q)) AS q WHERE q.state = 'active'
  RETURN collect([q.topic, n.row]) AS found
}
RETURN a.at AS at, found
"""

EPOCH: Final[LiteralString] = "MATCH (c:Counter {key: 'epoch'}) RETURN c.value AS value"

EPOCH_READING: Final[LiteralString] = """
RETURN
  COLLECT { MATCH (c:Counter {key: 'epoch'}) RETURN c.value } AS epoch,
  COLLECT { UNWIND $p.counters AS k MATCH (c:Counter {key: k}) RETURN [k, c.value] } AS counters,
  datetime.realtime().epochMillis AS now
"""

WAITING_EVENTS: Final[LiteralString] = """
MATCH (e:OutboxEvent)
WHERE e.waiting_ms >= 0 AND e.stream IS NOT NULL AND e.revision IS NOT NULL AND e.key IS NOT NULL
RETURN e.row AS row ORDER BY e.waiting_ms, e.stream, e.revision, e.key LIMIT $p.limit
"""

OVERDUE_CLAIMS: Final[LiteralString] = """
CALL () {
  MATCH (q:Queue) WHERE q.open_lease >= 0 RETURN q.row AS row, q.open_lease AS lease
  UNION ALL
  MATCH (s:VersionSentinel) WHERE s.open_lease >= 0 RETURN s.row AS row, s.open_lease AS lease
}
RETURN row, lease, datetime.realtime().epochMillis AS now
"""

CONTENTS: Final[LiteralString] = (
    "UNWIND $p.digests AS k MATCH (c:DagContent {digest: k}) RETURN collect(c.row) AS rows"
)

TAKEN: Final[LiteralString] = """
RETURN
  COLLECT { UNWIND $p.topics AS k MATCH (q:Queue {topic_folded: k}) RETURN k } AS topics,
  COLLECT { UNWIND $p.base_names AS k MATCH (n:ComputeNode {base_folded: k}) RETURN k } AS base_names
"""

REFERENCED: Final[LiteralString] = """
UNWIND $p.ids AS id
MATCH (n:DagNode {node_id: id})
WHERE EXISTS { (n)<-[:CONTAINS]-(:DagContent)<-[:OF]-(s:VersionSentinel) WHERE s.ref_namespace = $p.namespace }
   OR EXISTS { (n)<-[:DEPENDS_ON]-(:ComputeNode)<-[:CONTAINS]-(:DagContent)<-[:OF]-(s:VersionSentinel)
               WHERE s.ref_namespace = $p.namespace }
RETURN collect(id) AS ids
"""

DEPENDENTS: Final[LiteralString] = """
UNWIND $p.ids AS id
MATCH (n:DagNode {node_id: id})<-[:DEPENDS_ON]-(d:ComputeNode)
RETURN id, collect(d.row) AS rows
"""

CONTENT_REFERENCED: Final[LiteralString] = """
RETURN EXISTS { MATCH (s:VersionSentinel {content: $p.digest, ref_namespace: $p.namespace}) } AS referenced
"""

NODE_USAGE: Final[LiteralString] = """
UNWIND $p.candidates AS a
MATCH (n:ComputeNode {node_id: a.id}) WHERE n.row IS NOT NULL
RETURN n.row AS node,
  COLLECT {
    UNWIND a.tags AS tag
    WITH tag WHERE EXISTS {
      MATCH (n)<-[m:CONTAINS]-(c:DagContent)
      WHERE tag IN m.tags AND EXISTS { (c)<-[:OF]-(:VersionSentinel {state: 'active'}) }
    }
    RETURN tag
  } AS kept,
  COLLECT { MATCH (n)-[:EMITS]->(q:Queue) WHERE q.safe = '' RETURN q.row } AS queues
"""

TAG_QUERIES: Final[LiteralString] = """
UNWIND $p.keys AS k
MATCH (t:QueryOf {key: k})<-[:ASKS]-(n:ComputeNode)
WITH DISTINCT n
WHERE EXISTS { (n)<-[:CONTAINS]-(:DagContent)<-[:OF]-(:VersionSentinel {state: 'active'}) }
RETURN n.row AS row ORDER BY n.node_id
"""

TAG_REVISIONS: Final[LiteralString] = (
    "UNWIND $p.keys AS k MATCH (t:TagSet {key: k}) RETURN k AS key, t.revision AS value"
)

COUNTERS: Final[LiteralString] = (
    "UNWIND $p.keys AS k MATCH (c:Counter {key: k}) RETURN k AS key, c.value AS value"
)

NODES: Final[LiteralString] = (
    "UNWIND $p.ids AS id MATCH (n:ComputeNode {node_id: id}) RETURN collect(n.row) AS rows"
)

QUEUES_BY_TOPIC: Final[LiteralString] = (
    "UNWIND $p.topics AS k MATCH (q:Queue {topic: k}) RETURN collect(q.row) AS rows"
)

QUEUES_AFTER: Final[LiteralString] = """
MATCH (q:Queue) WHERE q.topic > $p.topic AND q.row IS NOT NULL
RETURN q.row AS row ORDER BY q.topic LIMIT $p.limit
"""

CLAIMS: Final[LiteralString] = """
RETURN
  COLLECT { MATCH (q:Queue {open_claim: $p.claim}) RETURN q.row } AS queues,
  COLLECT { MATCH (s:VersionSentinel {open_claim: $p.claim}) RETURN s.row } AS sentinels,
  COLLECT {
    MATCH (s:VersionSentinel {open_claim: $p.claim})
    WITH DISTINCT s.lineage_key AS lineage
    MATCH (v:VersionSentinel {lineage_key: lineage}) RETURN v.row
  } AS versions,
  datetime.realtime().epochMillis AS now
"""

HOLDERS_OF: Final[LiteralString] = """
MATCH (s:VersionSentinel {key: $p.key})<-[:HOLDS]-(h:Holder) RETURN collect(h.row) AS rows
"""

# For audits and tests: the only statement that scans the database.
ALL_ROWS: Final[LiteralString] = "MATCH (x) WHERE x.row IS NOT NULL RETURN x.row AS row"

# Statements of nearly every submission and poll, planned in advance (`Neo4jGraph.warm_up`). Those with locks in the same
# statement are in `writes.WARMED_WRITES`.
WARMED_READS: Final[tuple[LiteralString, ...]] = (
    EPOCH_READING,
    KNOWN,
    CONTENTS,
    CLAIMS,
    QUEUES_BY_TOPIC,
    NODE_USAGE,
    TAKEN,
    CONTENT_REFERENCED,
    REFERENCED,
    TAGGED,
    COUNTERS,
    OVERDUE_CLAIMS,
)
