"""Constraints, indexes and the model's version on a Neo4j server (docs/requirements.md M3).

Every function is idempotent and may run at any start. The design's `CREATE CONSTRAINT ON … ASSERT` is Neo4j 4
(docs/requirements.md T1). Its index `kafka_topic` is a unique constraint here, because Neo4j allows only one of both
on a property.
"""

from __future__ import annotations

from typing import Final, LiteralString

import neo4j
from neo4j.exceptions import Neo4jError

from dagmanager.errors import SettingsError
from dagmanager.graph.model_version import carry_over, check_model
from dagmanager.graph.neo4j.carry_over import STEPS
from dagmanager.graph.neo4j.schema_inspection import SchemaDiff, SchemaItem, items, labels, schema_diff

ONLINE_WITHIN_S: Final = 300

STATEMENTS: Final[tuple[LiteralString, ...]] = (
    "CREATE CONSTRAINT node_pk IF NOT EXISTS FOR (n:DagNode) REQUIRE n.node_id IS UNIQUE",
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
# Labels of this product. Before anything is written, other labels show that the database may belong to another one.
LABELS: Final = frozenset(
    {
        "Artifact",
        "ComputeNode",
        "Counter",
        "DagContent",
        "DagManagerSchema",
        "DagNode",
        "ExternalNode",
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
# Other products may have labels such as Queue or Artifact as well; these two show that this product was here.
MARKER_LABELS: Final = frozenset({"ComputeNode", "DagManagerSchema"})

_AWAIT: Final[LiteralString] = "CALL db.awaitIndexes($seconds)"
_READ_VERSION: Final[LiteralString] = "MATCH (v:DagManagerSchema) RETURN max(v.version) AS version"
WRITE_VERSION: Final[LiteralString] = (
    "MERGE (v:DagManagerSchema {name: 'dagmanager'}) SET v.version = $version"
)


def names() -> tuple[str, ...]:
    """The constraints and indexes of this release."""
    return tuple(statement.split()[2] for statement in STATEMENTS)


def create(session: neo4j.Session) -> tuple[str, ...]:
    """Create what is missing; returns the names of what was created. Idempotent.

    Blocks until the new indexes are online, at most `ONLINE_WITHIN_S` seconds. A plain index in place of a
    unique constraint is replaced. `SettingsError`, and nothing is created, when something else blocks ours or
    the graph is of a newer model. A graph of an older model is carried over, in transactions of bounded size.
    """
    found = plan(session)
    if found.blocking:
        raise SettingsError("\n".join(blocking_message(each) for each in found.blocking))
    replaced = {each.shape[1:]: each for each in found.replaced}
    for each in found.missing:
        _create(session, each, replaced.get(each.shape[1:]))
    session.run(_AWAIT, seconds=ONLINE_WITHIN_S).consume()
    carry_over(_model(session), STEPS, session, lambda model: _stamp(session, model))
    return tuple(each.name for each in found.missing)


def plan(session: neo4j.Session) -> SchemaDiff:
    """What `create` would do, and what would block it. Only reads. `SettingsError` for a newer model."""
    check_model("the database", _model(session), oldest=0)
    return schema_diff(session, STATEMENTS)


def drop(session: neo4j.Session) -> tuple[str, ...]:
    """Remove our constraints and indexes, but no data; returns the names of what was removed. Idempotent."""
    dropped = droppable(session)
    for each in dropped:
        _drop(session, each)
    return tuple(each.name for each in dropped)


def droppable(session: neo4j.Session) -> tuple[SchemaItem, ...]:
    """What `drop` would remove: ours by name and by shape, so nothing of another product under one of our names."""
    present = {(each.name, each.shape) for each in items(session)}
    ours = schema_diff(session, STATEMENTS).existing
    return tuple(each for each in ours if (each.name, each.shape) in present)


def check(session: neo4j.Session) -> None:
    """`SettingsError` when the schema is missing or incomplete, or the graph of another model. Only reads."""
    if found := _model(session):  # none when all nodes were deleted by hand: then the schema below decides
        check_model("the database", found)
    if missing := schema_diff(session, STATEMENTS).missing:
        msg = (
            f"the database lacks {len(missing)} constraints or indexes of this release, the first is"
            f" {missing[0].name}: run `dagmanager init`"
        )
        raise SettingsError(msg)


def foreign_labels(session: neo4j.Session) -> tuple[str, ...]:
    """Labels of other products in this database, sorted."""
    return tuple(sorted(labels(session) - LABELS))


def is_ours(session: neo4j.Session) -> bool:
    """Whether this product, or one with its data model, has used this database."""
    return bool(labels(session) & MARKER_LABELS)


def export(session: neo4j.Session) -> str:
    """Cypher that creates every constraint and index of the database again, one statement per line."""
    return "".join(_with_if_not_exists(each) + ";\n" for each in items(session))


def drop_statement(item: SchemaItem) -> str:
    """The statement that removes a constraint or an index."""
    kind = "CONSTRAINT" if item.statement.startswith("CREATE CONSTRAINT") else "INDEX"
    return f"DROP {kind} {_quoted(item.name)} IF EXISTS"


def blocking_message(item: SchemaItem) -> str:
    """What blocks our schema, and the statement that removes it."""
    return f"{item.shape} named {item.name} blocks our schema: remove it with `{drop_statement(item)}` or rename it"


def _model(session: neo4j.Session) -> int:
    """The model that is stored; 0 in a database that has none."""
    return session.run(_READ_VERSION).single(strict=True)["version"] or 0


def _stamp(session: neo4j.Session, model: int) -> None:
    session.run(WRITE_VERSION, version=model).consume()


def _create(session: neo4j.Session, item: SchemaItem, instead_of: SchemaItem | None) -> None:
    if instead_of is not None:
        _drop(session, instead_of)
    try:
        session.run(neo4j.Query(item.statement)).consume()
    except Neo4jError:
        if instead_of is not None:  # probably two nodes have one value: restore the plain index
            session.run(neo4j.Query(instead_of.statement)).consume()
        raise


def _drop(session: neo4j.Session, item: SchemaItem) -> None:
    # No injection: names read from the server are quoted, the rest is our own text.
    session.run(neo4j.Query(drop_statement(item))).consume()


def _with_if_not_exists(item: SchemaItem) -> str:
    """So that the export can also be applied where some of them exist."""
    before, name, after = item.statement.partition(_quoted(item.name))
    return f"{before}{name} IF NOT EXISTS{after}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
