"""Whether the documented properties and relationships in Neo4j say the same as the rows.

`cypher_view` reads them by plain Cypher; `expected_facts` derives them from the rows. Neither uses the product's code for
writing to Neo4j, so that equal sets prove that code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import neo4j

from dagmanager.engine.model.rows import ContentRow, CounterRow, NodeRow, QueueRow, Row, TagSetRow, fold
from dagmanager.engine.model.version_rows import HolderRow, LineageRow, SentinelRow
from dagmanager.graph.neo4j.keys import (
    clipped,
    holder_key,
    lineage_key,
    sentinel_key,
    tag_key,
    tag_set_key,
)

Facts = Counter[tuple[Any, ...]]

NODE: tuple[str, ...] = (
    "node_type",
    "interval",
    "period",
    "code_hash",
    "schema_compat_id",
    "params_canon",
    "created_at",
)
NODE += ("tags", "schema_hash", "name", "global", "base_name", "base_folded", "buffering_since")
QUEUE: tuple[str, ...] = (
    "created_at",
    "ttl",
    "retention_ms",
    "partitions",
    "tag",
    "state",
    "namespace",
    "incarnation",
)
QUEUE += ("unreferenced_at", "topic_folded")
SENTINEL: tuple[str, ...] = (
    "version",
    "revision",
    "lineage",
    "commit_hash",
    "created_at",
    "release_tag",
    "traffic_weight",
)
SENTINEL += ("state", "sentinel_id")
ARTIFACT = ("path", "checksum", "size", "framework", "dtype")
LABELS: Mapping[LiteralString, tuple[str, Sequence[str]]] = {
    "ComputeNode": ("node_id", NODE),
    "Queue": ("topic", QUEUE),
    "VersionSentinel": ("key", SENTINEL),
    "DagContent": ("digest", ("size",)),
    "Lineage": ("key", ("lineage", "namespace", "last_at", "last_partition", "last_position")),
    "Holder": ("key", ("strategy_id", "namespace", "world_id", "last_seen")),
    "TagSet": ("key", ("tags", "interval", "revision")),
    "Counter": ("key", ("value",)),
}
PATHS: Sequence[LiteralString] = (
    "MATCH (n:DagNode)-[:EMITS]->(q:Queue) RETURN 'EMITS', n.node_id, q.topic",
    "MATCH (c:DagContent)-[m:CONTAINS]->(n:DagNode)"
    " RETURN 'CONTAINS', c.digest, n.node_id, m.name, m.tags, m.schema_hash",
    "MATCH (s:VersionSentinel)-[:OF]->(c:DagContent) RETURN 'OF', s.key, c.digest",
    "MATCH (s:VersionSentinel)-[:HAS]->(n:DagNode) RETURN 'HAS', s.key, n.node_id",
    "MATCH (h:Holder)-[:HOLDS]->(s:VersionSentinel) RETURN 'HOLDS', h.key, s.key",
    "MATCH (n:ComputeNode)-[:DEPENDS_ON]->(d:DagNode) RETURN 'DEPENDS_ON', n.node_id, d.node_id",
    "MATCH (n:ComputeNode)-[:TAGGED]->(t:TagOf) RETURN 'TAGGED', n.node_id, t.key",
    "MATCH (n:ComputeNode)-[:ASKS]->(t:QueryOf) RETURN 'ASKS', n.node_id, t.key",
    "MATCH (a:Artifact)-[:USED_BY]->(n:ComputeNode) RETURN 'USED_BY', a.path, a.checksum, n.node_id",
)
# A node that no submission contained is an `ExternalNode`, any other one a `ComputeNode`; never both.
MISLABELLED: LiteralString = (
    "MATCH (n:DagNode|ComputeNode|ExternalNode)"
    " WHERE NOT n:DagNode OR (n.row IS NULL) <> n:ExternalNode OR n:ExternalNode = n:ComputeNode"
    " RETURN n.node_id AS node, labels(n) AS labels"
)
COUNT: LiteralString = "MATCH ()-[r]->() RETURN count(r) AS count"
# Tag nodes without their owner: nothing would ever remove them.
ORPHANS: LiteralString = (
    "MATCH (t:TagOf|QueryOf) WHERE COUNT { (t)--() } <> 1 RETURN labels(t)[0] AS label, t.key AS key"
)
INTERVALS: LiteralString = (
    "MATCH (n:ComputeNode)-[:EMITS]->(q:Queue) WHERE n.row IS NOT NULL"
    " AND (q.interval IS NULL OR q.interval <> n.interval) RETURN q.topic AS topic"
)


@dataclass(frozen=True)
class CypherView:
    """What plain Cypher finds. `paths` is the number of all relationships in the database, `orphans` are tag nodes without
    their owner, `other_intervals` topics whose interval differs from their node's, `mislabelled` nodes whose labels do not
    say whether they were submitted."""

    facts: Facts
    paths: int
    orphans: tuple[str, ...] = ()
    other_intervals: tuple[str, ...] = ()
    mislabelled: tuple[str, ...] = ()


def cypher_view(session: neo4j.Session) -> CypherView:
    """Read everything; nothing may write meanwhile."""
    paths: int = session.run(COUNT).single(strict=True)["count"]
    orphans = tuple(f"{row['label']} {row['key']}" for row in session.run(ORPHANS))
    mislabelled = tuple(f"{row['node']} {sorted(row['labels'])}" for row in session.run(MISLABELLED))
    return CypherView(stored_facts(session), paths, orphans, queues_of_another_interval(session), mislabelled)


def contradictions(found: CypherView, rows: Iterable[Row]) -> list[str]:
    """Every difference between the properties and relationships in the database and those implied by the rows."""
    expected = expected_facts(rows)
    paths = sum(count for each, count in found.facts.items() if each[0].isupper())
    return [
        *(f"shown, and in no row: {each}" for each in found.facts - expected),
        *(f"in a row, and not shown: {each}" for each in expected - found.facts),
        *(
            [f"{found.paths} relationships, of which {paths} are the product's"]
            if found.paths != paths
            else []
        ),
        *(f"without an owner: {each}" for each in found.orphans),
        *(f"under the wrong label: {each}" for each in found.mislabelled),
    ]


def queues_of_another_interval(session: neo4j.Session) -> tuple[str, ...]:
    """Topics whose interval differs from their node's; the engine writes no queue before its node, so there are none."""
    return tuple(row["topic"] for row in session.run(INTERVALS))


def stored_facts(session: neo4j.Session) -> Facts:
    """The facts in the database, by plain Cypher. A node without a row is only referenced: it has no properties."""
    facts: Facts = Counter()
    for label, (key, names) in LABELS.items():
        statement = neo4j.Query(f"MATCH (x:{label}) WHERE x.row IS NOT NULL RETURN x")  # labels are constants
        for row in session.run(statement):
            if (label, row["x"][key]) == ("Counter", "epoch"):
                continue  # incremented without writing its row: only its value counts
            facts[fact(label, row["x"][key], {name: row["x"].get(name) for name in names})] += 1
    for path in PATHS:
        for found in session.run(path):
            facts[tuple(frozen(value) for value in found.values())] += 1
    used = session.run("MATCH (a:Artifact) WHERE (a)--() RETURN a")
    for row in used:
        facts[fact("Artifact", "", {name: row["a"].get(name) for name in ARTIFACT})] += 1
    return facts


def fact(label: str, key: str, properties: Mapping[str, Any]) -> tuple[Any, ...]:
    """The properties of one node, as a hashable fact."""
    return label, key, tuple((name, frozen(value)) for name, value in sorted(properties.items()))


def frozen(value: Any) -> Any:
    """Hashable."""
    return tuple(value) if isinstance(value, list) else value


def expected_facts(rows: Iterable[Row]) -> Facts:
    """The facts that the rows imply."""
    facts: Facts = Counter()
    artifacts: set[tuple[Any, ...]] = set()
    for row in rows:
        match row:
            case NodeRow():
                facts.update(node_facts(row))
                for each in row.artifacts:
                    facts["USED_BY", each.path, each.checksum, clipped(row.node_id)] += 1
                    artifacts.add(fact("Artifact", "", {name: getattr(each, name) for name in ARTIFACT}))
            case QueueRow():
                facts.update(queue_facts(row))
            case ContentRow():
                facts[fact("DagContent", clipped(row.digest), {"size": len(row.members)})] += 1
                for node_id, schema, tags, name in row.members:
                    facts["CONTAINS", clipped(row.digest), clipped(node_id), name, tags, schema] += 1
            case SentinelRow():
                facts.update(sentinel_facts(row))
            case LineageRow(key, at_ms, partition, position):
                properties: dict[str, Any] = {
                    "lineage": key.lineage,
                    "namespace": key.namespace,
                    "last_at": at_ms,
                    "last_partition": partition,
                    "last_position": position,
                }
                facts[fact("Lineage", lineage_key(key), properties)] += 1
            case HolderRow():
                facts.update(holder_facts(row))
            case TagSetRow(key, revision):
                properties = {"tags": key.tags, "interval": key.interval, "revision": revision}
                facts[fact("TagSet", tag_set_key(key), properties)] += 1
            case CounterRow(name, value) if name != "epoch":
                facts[fact("Counter", clipped(name), {"value": value})] += 1
            case _:
                pass  # outcomes and events are read by their keys alone
    facts.update(artifacts)
    return facts


def node_facts(row: NodeRow) -> Iterable[tuple[Any, ...]]:
    """A node, its dependencies and its tags."""
    key = clipped(row.node_id)
    properties = {
        "node_type": row.node_type,
        "interval": row.interval,
        "period": row.period,
        "code_hash": row.code_hash,
        "schema_compat_id": row.schema_compat_id,
        "params_canon": row.params_canon,
        "created_at": row.created_ms,
        "tags": row.tags,
        "schema_hash": row.schema_hash or None,
        "name": row.name,
        "global": row.global_,
        "base_name": row.base_name,
        "base_folded": fold(row.base_name),
        "buffering_since": row.buffering_since_ms,
    }
    yield fact("ComputeNode", key, properties)
    for each in dict.fromkeys(row.dependencies):
        yield "DEPENDS_ON", key, clipped(each)
    if row.tag_query is not None:
        for tag in dict.fromkeys(row.tag_query.tags):
            yield "ASKS", key, tag_key(tag, row.tag_query.interval)
    else:
        for tag in dict.fromkeys(row.tags):
            yield "TAGGED", key, tag_key(tag, row.interval)


def queue_facts(row: QueueRow) -> Iterable[tuple[Any, ...]]:
    """A queue and the node that emits it."""
    properties = {
        "created_at": row.created_ms,
        "ttl": row.ttl_ms,
        "retention_ms": row.spec.retention_ms,
        "partitions": row.spec.partitions,
        "tag": row.tag,
        "state": row.state.value,
        "namespace": row.binding.namespace,
        "incarnation": row.incarnation,
        "unreferenced_at": row.unreferenced_ms,
        "topic_folded": fold(row.topic),
    }
    yield fact("Queue", row.topic, properties)
    yield "EMITS", clipped(row.binding.node_id), row.topic


def sentinel_facts(row: SentinelRow) -> Iterable[tuple[Any, ...]]:
    """A version, its content, and the nodes that it introduced."""
    key = sentinel_key(row.key)
    properties = {
        "version": row.key.version,
        "revision": row.key.revision,
        "lineage": row.key.lineage,
        "commit_hash": row.commit_hash,
        "created_at": row.created_ms,
        "release_tag": row.key.version,
        "traffic_weight": row.weight,
        "state": row.state.value,
        "sentinel_id": row.sentinel_id,
    }
    yield fact("VersionSentinel", key, properties)
    yield "OF", key, clipped(row.content)
    for each in dict.fromkeys(row.introduced):
        yield "HAS", key, clipped(each)


def holder_facts(row: HolderRow) -> Iterable[tuple[Any, ...]]:
    """Which strategy id was answered with which version."""
    properties = {
        "strategy_id": row.key.strategy_id,
        "namespace": row.key.namespace,
        "world_id": row.key.world_id,
        "last_seen": row.last_seen_ms,
    }
    yield fact("Holder", holder_key(row.key), properties)
    yield "HOLDS", holder_key(row.key), sentinel_key(row.sentinel)
