"""What a Neo4j database contains: labels, constraints and indexes, and which of them block ours. Only reads.

Two constraints or indexes of one shape do the same work under any name, so shapes are compared, not names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, LiteralString, NamedTuple

import neo4j

_STATEMENT: Final = re.compile(
    r"CREATE (CONSTRAINT|INDEX) (\w+) IF NOT EXISTS FOR \(\w+:(\w+)\) (?:ON \((.*)\)|REQUIRE (.*) IS UNIQUE)"
)
OLDEST: Final = (5, 23)
_UNIQUE: Final = frozenset({"UNIQUENESS", "NODE_PROPERTY_UNIQUENESS"})  # by the server's release
_CONSTRAINTS: Final[LiteralString] = (
    "SHOW CONSTRAINTS YIELD name, type, entityType, labelsOrTypes, properties, createStatement"
    " RETURN * ORDER BY name"
)
_INDEXES: Final[LiteralString] = (
    "SHOW INDEXES YIELD name, type, entityType, labelsOrTypes, properties, createStatement, owningConstraint"
    " WHERE owningConstraint IS NULL AND type <> 'LOOKUP' RETURN * ORDER BY name"
)
_LABELS: Final[LiteralString] = "CALL db.labels() YIELD label RETURN label"
_SERVER: Final[LiteralString] = (
    "CALL dbms.components() YIELD name, versions, edition WHERE name = 'Neo4j Kernel'"
    " RETURN versions[0] AS version, edition"
)


class SchemaShape(NamedTuple):
    """What a constraint or an index does: kind is `unique`, `range`, or one that this product never creates."""

    kind: str
    label: str
    properties: tuple[str, ...]

    def __str__(self) -> str:
        """For messages: `unique :Queue(topic)`."""
        return f"{self.kind} :{self.label}({', '.join(self.properties)})"


class SchemaItem(NamedTuple):
    """One constraint or index, with the statement that creates it."""

    name: str
    shape: SchemaShape
    statement: str


class Release(NamedTuple):
    """A server's version and edition."""

    version: str
    edition: str

    def __str__(self) -> str:
        """For messages: `Neo4j 5.26.0 community`."""
        return f"Neo4j {self.version} {self.edition}"

    def is_too_old(self) -> bool:
        """Whether it lacks Cypher that our statements use (`CALL (x) { … }`)."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST


class SchemaDiff(NamedTuple):
    """Our schema compared with the database: existing and missing items, and others that block missing ones.

    `replaced` are plain indexes in place of a unique constraint, which serves the same queries: `create`
    replaces them (the design's own `kafka_topic` is one). `blocking` items need a person.
    """

    existing: tuple[SchemaItem, ...]
    missing: tuple[SchemaItem, ...]
    replaced: tuple[SchemaItem, ...]
    blocking: tuple[SchemaItem, ...]


def item_of(statement: str) -> SchemaItem:
    """Parse one of our own statements."""
    found = _STATEMENT.fullmatch(statement)
    if found is None:
        raise ValueError(statement)
    kind, name, label, indexed, required = found.groups()
    properties = tuple(each.split(".")[1] for each in (indexed or required).split(", "))
    return SchemaItem(
        name, SchemaShape("unique" if kind == "CONSTRAINT" else "range", label, properties), statement
    )


def schema_diff(session: neo4j.Session, statements: Sequence[str]) -> SchemaDiff:
    """Compare the database with what these statements create."""
    present = items(session)
    shapes = {each.shape for each in present}
    wanted = [item_of(statement) for statement in statements]
    missing = tuple(each for each in wanted if each.shape not in shapes)
    blocking = {
        other.name: other for each in missing for other in present if _blocks(other, each)
    }  # by name: one index may block several
    made_unique = {each.shape[1:] for each in missing if each.shape.kind == "unique"}
    replaced = tuple(
        each for each in blocking.values() if each.shape.kind == "range" and each.shape[1:] in made_unique
    )
    return SchemaDiff(
        tuple(each for each in wanted if each.shape in shapes),
        missing,
        replaced,
        tuple(each for each in blocking.values() if each not in replaced),
    )


def items(session: neo4j.Session) -> tuple[SchemaItem, ...]:
    """Every constraint, then every index of its own, each by name. Without the server's own lookup indexes."""
    return tuple(_item(row) for shown in (_CONSTRAINTS, _INDEXES) for row in list(session.run(shown)))


def labels(session: neo4j.Session) -> frozenset[str]:
    """The labels of this database: those of its nodes, constraints and indexes."""
    return frozenset(row["label"] for row in session.run(_LABELS))


def release(session: neo4j.Session) -> Release:
    """Version and edition of the server."""
    found = session.run(_SERVER).single(strict=True)
    return Release(found["version"], found["edition"])


def _blocks(other: SchemaItem, wanted: SchemaItem) -> bool:
    """Same name, or another kind on the same properties. Text, vector and other indexes do not block ours."""
    same_properties = other.shape[1:] == wanted.shape[1:] and other.shape.kind in (
        "range",
        "unique",
        "node key",
    )
    return other.name == wanted.name or same_properties


def _item(row: Any) -> SchemaItem:
    kind = str(row["type"]).lower().replace("_", " ")
    if row["entityType"] != "NODE":
        kind = f"{row['entityType'].lower()} {kind}"
    elif row["type"] in _UNIQUE:
        kind = "unique"
    label = "|".join(row["labelsOrTypes"] or ())
    return SchemaItem(
        row["name"], SchemaShape(kind, label, tuple(row["properties"] or ())), row["createStatement"]
    )
