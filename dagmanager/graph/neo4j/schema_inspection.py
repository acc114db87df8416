"""What a Neo4j database holds already: whose labels, which constraints, and what is in the way of ours.

Two constraints or indexes of one shape do the same work whatever their names, so that ours count as
there by their shape. Only reads.
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
    """What a constraint or an index does: kind is `unique`, `range`, or one that we never make."""

    kind: str
    label: str
    properties: tuple[str, ...]

    def __str__(self) -> str:
        """As Cypher would point at it."""
        return f"{self.kind} :{self.label}({', '.join(self.properties)})"


class SchemaItem(NamedTuple):
    """One constraint or index, with the statement that makes it."""

    name: str
    shape: SchemaShape
    statement: str


class Release(NamedTuple):
    """A server's version and edition."""

    version: str
    edition: str

    def __str__(self) -> str:
        """As people say it."""
        return f"Neo4j {self.version} {self.edition}"

    def is_too_old(self) -> bool:
        """Whether it does not know the Cypher that we speak (`CALL (x) { … }`)."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST


class Survey(NamedTuple):
    """Our items that are there and those that are not, and what is in the way of the latter.

    `replaced` are plain indexes where we need a unique constraint, which does all that they did: the
    first proposal's own `kafka_topic` is one. `in_the_way` cannot be replaced by us.
    """

    there: tuple[SchemaItem, ...]
    missing: tuple[SchemaItem, ...]
    replaced: tuple[SchemaItem, ...]
    in_the_way: tuple[SchemaItem, ...]


def item_of(statement: str) -> SchemaItem:
    """One of our own statements, taken apart."""
    found = _STATEMENT.fullmatch(statement)
    if found is None:
        raise ValueError(statement)
    kind, name, label, indexed, required = found.groups()
    properties = tuple(each.split(".")[1] for each in (indexed or required).split(", "))
    return SchemaItem(
        name, SchemaShape("unique" if kind == "CONSTRAINT" else "range", label, properties), statement
    )


def survey(session: neo4j.Session, statements: Sequence[str]) -> Survey:
    """Compare what is there with what these statements make."""
    present = items(session)
    shapes = {each.shape for each in present}
    wanted = [item_of(statement) for statement in statements]
    missing = tuple(each for each in wanted if each.shape not in shapes)
    blocking = {
        other.name: other for each in missing for other in present if _blocks(other, each)
    }  # by name: one index may be in the way of several
    takes_over = {each.shape[1:] for each in missing if each.shape.kind == "unique"}
    replaced = tuple(
        each for each in blocking.values() if each.shape.kind == "range" and each.shape[1:] in takes_over
    )
    return Survey(
        tuple(each for each in wanted if each.shape in shapes),
        missing,
        replaced,
        tuple(each for each in blocking.values() if each not in replaced),
    )


def items(session: neo4j.Session) -> tuple[SchemaItem, ...]:
    """Every constraint, then every index that belongs to none, each by name; lookup indexes are the server's."""
    return tuple(_item(row) for asked in (_CONSTRAINTS, _INDEXES) for row in list(session.run(asked)))


def labels(session: neo4j.Session) -> frozenset[str]:
    """The labels of this database, by its nodes and by its constraints and indexes."""
    return frozenset(row["label"] for row in session.run(_LABELS))


def release(session: neo4j.Session) -> Release:
    """What the server says it is."""
    found = session.run(_SERVER).single(strict=True)
    return Release(found["version"], found["edition"])


def _blocks(other: SchemaItem, wanted: SchemaItem) -> bool:
    """Same name, or another kind on the same properties; text and other indexes may stand beside ours."""
    same_place = other.shape[1:] == wanted.shape[1:] and other.shape.kind in ("range", "unique", "node key")
    return other.name == wanted.name or same_place


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
