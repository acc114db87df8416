"""Constraints, indexes and the schema's version on a Neo4j server (M3, §1.2).

Every statement may run again at any start. The document's `ON … ASSERT` is Neo4j 4 (trap T1); its
index `kafka_topic` is a unique constraint here, since both on one property cannot be.
"""

from __future__ import annotations

from typing import Final, LiteralString

import neo4j

from dagmanager.errors import SettingsError

VERSION: Final = 1
ONLINE_WITHIN_S: Final = 300

STATEMENTS: Final[tuple[LiteralString, ...]] = (
    "CREATE CONSTRAINT compute_pk IF NOT EXISTS FOR (c:ComputeNode) REQUIRE c.node_id IS UNIQUE",
    "CREATE CONSTRAINT compute_base IF NOT EXISTS FOR (c:ComputeNode) REQUIRE c.base_folded IS UNIQUE",
    "CREATE INDEX compute_tags IF NOT EXISTS FOR (c:ComputeNode) ON (c.tags)",
    "CREATE INDEX compute_buffering_since IF NOT EXISTS FOR (c:ComputeNode) ON (c.buffering_since)",
    "CREATE CONSTRAINT kafka_topic IF NOT EXISTS FOR (q:Queue) REQUIRE q.topic IS UNIQUE",
    "CREATE CONSTRAINT queue_folded IF NOT EXISTS FOR (q:Queue) REQUIRE q.topic_folded IS UNIQUE",
    "CREATE INDEX queue_interval IF NOT EXISTS FOR (q:Queue) ON (q.interval)",
    "CREATE INDEX queue_binding IF NOT EXISTS FOR (q:Queue) ON (q.binding)",
    "CREATE INDEX queue_claim IF NOT EXISTS FOR (q:Queue) ON (q.open_claim)",
    "CREATE INDEX queue_lease IF NOT EXISTS FOR (q:Queue) ON (q.open_lease)",
    "CREATE INDEX queue_safe IF NOT EXISTS FOR (q:Queue) ON (q.safe_live)",
    "CREATE CONSTRAINT content_pk IF NOT EXISTS FOR (c:DagContent) REQUIRE c.digest IS UNIQUE",
    "CREATE CONSTRAINT sentinel_pk IF NOT EXISTS FOR (s:VersionSentinel) REQUIRE s.key IS UNIQUE",
    "CREATE INDEX sentinel_lineage IF NOT EXISTS FOR (s:VersionSentinel) ON (s.lineage_key)",
    "CREATE INDEX sentinel_claim IF NOT EXISTS FOR (s:VersionSentinel) ON (s.open_claim)",
    "CREATE INDEX sentinel_lease IF NOT EXISTS FOR (s:VersionSentinel) ON (s.open_lease)",
    "CREATE INDEX sentinel_ref IF NOT EXISTS FOR (s:VersionSentinel) ON (s.content, s.ref_namespace)",
    "CREATE CONSTRAINT lineage_pk IF NOT EXISTS FOR (l:Lineage) REQUIRE l.key IS UNIQUE",
    "CREATE CONSTRAINT holder_pk IF NOT EXISTS FOR (h:Holder) REQUIRE h.key IS UNIQUE",
    "CREATE CONSTRAINT tag_set_pk IF NOT EXISTS FOR (t:TagSet) REQUIRE t.key IS UNIQUE",
    "CREATE CONSTRAINT outcome_pk IF NOT EXISTS FOR (o:Outcome) REQUIRE o.key IS UNIQUE",
    "CREATE CONSTRAINT outbox_pk IF NOT EXISTS FOR (e:OutboxEvent) REQUIRE e.key IS UNIQUE",
    "CREATE INDEX outbox_waiting IF NOT EXISTS FOR (e:OutboxEvent)"
    " ON (e.waiting_ms, e.stream, e.revision, e.key)",
    "CREATE CONSTRAINT counter_pk IF NOT EXISTS FOR (c:Counter) REQUIRE c.key IS UNIQUE",
    "CREATE CONSTRAINT artifact_pk IF NOT EXISTS FOR (a:Artifact) REQUIRE a.key IS UNIQUE",
    "CREATE CONSTRAINT lock_pk IF NOT EXISTS FOR (l:Lock) REQUIRE l.key IS UNIQUE",
    "CREATE INDEX tag_of IF NOT EXISTS FOR (t:TagOf) ON (t.key)",
    "CREATE INDEX query_of IF NOT EXISTS FOR (t:QueryOf) ON (t.key)",
)
# What this product calls its own, so that a database of somebody else is told before anything is written.
LABELS: Final = frozenset(
    {
        "Artifact",
        "ComputeNode",
        "Counter",
        "DagContent",
        "DagManagerSchema",
        "Holder",
        "Lineage",
        "Lock",
        "OutboxEvent",
        "Outcome",
        "QueryOf",
        "Queue",
        "TagOf",
        "TagSet",
        "VersionSentinel",
    }
)

_AWAIT: Final[LiteralString] = "CALL db.awaitIndexes($seconds)"
_READ_VERSION: Final[LiteralString] = "MATCH (v:DagManagerSchema) RETURN max(v.version) AS version"
_WRITE_VERSION: Final[LiteralString] = (
    "MERGE (v:DagManagerSchema {name: 'dagmanager'}) SET v.version = $version"
)
_CONSTRAINTS: Final[LiteralString] = "SHOW CONSTRAINTS YIELD name RETURN name"
_INDEXES: Final[LiteralString] = "SHOW INDEXES YIELD name RETURN name"
_LABELS: Final[LiteralString] = "CALL db.labels() YIELD label RETURN label"
_CREATED_BY: Final[LiteralString] = (
    "SHOW CONSTRAINTS YIELD name, createStatement RETURN name, createStatement ORDER BY name"
)
_INDEXED_BY: Final[LiteralString] = (
    "SHOW INDEXES YIELD name, type, owningConstraint, createStatement"
    " WHERE owningConstraint IS NULL AND type <> 'LOOKUP' RETURN name, createStatement ORDER BY name"
)


def names() -> tuple[str, ...]:
    """The constraints and indexes of this release."""
    return tuple(statement.split()[2] for statement in STATEMENTS)


def create(session: neo4j.Session) -> tuple[str, ...]:
    """Make what is missing and wait until it serves; the names of what was made. Idempotent."""
    _check_version(session)
    missing = _missing(session)
    for statement in STATEMENTS:
        session.run(statement).consume()
    session.run(_AWAIT, seconds=ONLINE_WITHIN_S).consume()
    session.run(_WRITE_VERSION, version=VERSION).consume()
    return missing


def drop(session: neo4j.Session) -> tuple[str, ...]:
    """Remove our constraints and indexes, no data; the names of what was there."""
    there = _there(session)
    dropped = []
    for statement in STATEMENTS:
        kind, name = statement.split()[1:3]
        if name in there:
            # Names come from the list above, never from outside.
            text = "DROP CONSTRAINT " if kind == "CONSTRAINT" else "DROP INDEX "
            session.run(neo4j.Query(text + name + " IF EXISTS")).consume()
            dropped.append(name)
    return tuple(dropped)


def check(session: neo4j.Session) -> None:
    """`SettingsError` when the schema is not there, not whole, or of another release."""
    if missing := _missing(session):
        msg = (
            f"the database lacks {len(missing)} constraints or indexes of this release, the first is"
            f" {missing[0]}: run `dagmanager neo4j-init`"
        )
        raise SettingsError(msg)
    _check_version(session)


def foreign_labels(session: neo4j.Session) -> tuple[str, ...]:
    """Labels in this database that are not ours, sorted."""
    return tuple(sorted({row["label"] for row in session.run(_LABELS)} - LABELS))


def export(session: neo4j.Session) -> str:
    """Every constraint and index of the database as Cypher that makes them again, one per line."""
    rows = [*session.run(_CREATED_BY), *session.run(_INDEXED_BY)]
    return "".join(_again(row["createStatement"]) + ";\n" for row in rows)


def _again(statement: str) -> str:
    """`IF NOT EXISTS`, so that the export may be applied where some are there already."""
    head, target = statement.split(" FOR ", 1)
    return f"{head} IF NOT EXISTS FOR {target}"


def _there(session: neo4j.Session) -> frozenset[str]:
    return frozenset(row["name"] for asked in (_CONSTRAINTS, _INDEXES) for row in session.run(asked))


def _missing(session: neo4j.Session) -> tuple[str, ...]:
    there = _there(session)
    return tuple(name for name in names() if name not in there)


def _check_version(session: neo4j.Session) -> None:
    found = session.run(_READ_VERSION).single(strict=True)["version"]
    if found is not None and found > VERSION:
        msg = f"the database has schema version {found}, this release knows {VERSION}: use the newer release"
        raise SettingsError(msg)
