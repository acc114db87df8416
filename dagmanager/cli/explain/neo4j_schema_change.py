"""The constraints and indexes of this product on one database: what is missing, and creating it.

`neo4j-init` and `init` share this. May not live here: flags, printing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dagmanager.terminal.report import CommandError, Report

if TYPE_CHECKING:
    import neo4j

    from dagmanager.graph.neo4j.server import Server

SHOWN_MAX = 5


class SchemaChange(NamedTuple):
    """Names of what was created (or would be), of what existed, and the Cypher `statements` for it."""

    uri: str
    server: str
    made: tuple[str, ...]
    there: tuple[str, ...]
    replaced: tuple[str, ...]
    foreign_labels: tuple[str, ...]
    statements: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All but the statements."""
        shown = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()
        }
        del shown["statements"]
        return shown

    def warning(self) -> Report | None:
        """That the database has other data too."""
        if not self.foreign_labels:
            return None
        shown = ", ".join(self.foreign_labels)
        message = f"the database at {self.uri} has other data too, with the labels {shown}"
        return Report("shared_database", message, level="warning")

    def summary(self) -> str:
        """One line."""
        return f"{len(self.made)} created, {len(self.there)} already exist: {self.uri}, {self.server}"


def make_schema(server: Server, *, shared: bool, dry_run: bool) -> SchemaChange:
    """Idempotent; a dry run only reads. A database that others use needs `shared` the first time."""
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.graph.neo4j import schema
    from dagmanager.graph.neo4j.schema_inspection import OLDEST, release

    with opened(server, reads_only=dry_run) as session:
        found = release(session)
        if found.is_too_old():
            needed = ".".join(map(str, OLDEST))
            raise CommandError(Report("database", f"{found} at {server.uri} is too old: {needed} is needed"))
        foreign = schema.foreign_labels(session)
        if foreign and not shared and not schema.is_ours(session):
            raise CommandError(_foreign_database(server.uri, foreign))
        change = _planned(session, server.uri, str(found), foreign)
        if not dry_run:
            change = change._replace(made=schema.create(session))
        return change


def all_statements() -> tuple[str, ...]:
    """The schema of this release, for an empty database."""
    from dagmanager.graph.neo4j.schema import STATEMENTS

    return (*STATEMENTS, _version_statement())


def as_cypher(statements: tuple[str, ...]) -> str:
    """One statement per line, for cypher-shell."""
    return "".join(f"{statement};\n" for statement in statements)


def _planned(session: neo4j.Session, uri: str, server: str, foreign: tuple[str, ...]) -> SchemaChange:
    from dagmanager.graph.neo4j import schema

    found = schema.plan(session)
    if found.blocking:
        words = "; ".join(schema.blocking_message(each) for each in found.blocking)
        raise CommandError(Report("database", f"the database at {uri} cannot take the schema: {words}"))
    drops = tuple(schema.drop_statement(each) for each in found.replaced)
    making = tuple(each.statement for each in found.missing)
    return SchemaChange(
        uri,
        server,
        tuple(each.name for each in found.missing),
        tuple(each.name for each in found.existing),
        tuple(each.name for each in found.replaced),
        foreign,
        (*drops, *making, _version_statement()) if making else (),
    )


def _version_statement() -> str:
    from dagmanager.graph.model_version import MODEL
    from dagmanager.graph.neo4j.schema import WRITE_VERSION

    return WRITE_VERSION.replace("$version", str(MODEL))


def _foreign_database(uri: str, foreign: tuple[str, ...]) -> Report:
    shown = ", ".join(foreign[:SHOWN_MAX]) + (", …" if len(foreign) > SHOWN_MAX else "")
    return Report(
        "database",
        f"the database at {uri} has only data of other applications",
        notes=(f"labels: {shown}",),
        helps=("check the address; with --shared the constraints and indexes are created beside that data",),
    )
