"""Opens a Neo4j database for one command, and says in a line why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagmanager.cli.framework.error_report import CommandError, Exit, Report

if TYPE_CHECKING:
    import neo4j

    from dagmanager.graph.neo4j.graph import Server


@contextmanager
def opened(server: Server, *, reads_only: bool = False) -> Iterator[neo4j.Session]:
    """A session with the leader. With `reads_only` the server itself refuses every write.

    Away or too busy: `UnavailableError` (exit 4). Else `CommandError`: turned away (2), or a statement
    that the database refuses and a schema that is not of this release (1).
    """
    import neo4j
    from neo4j.exceptions import AuthError, DriverError, Neo4jError

    from dagmanager.errors import SettingsError, UnavailableError
    from dagmanager.graph.neo4j.graph import connect

    mode = neo4j.READ_ACCESS if reads_only else neo4j.WRITE_ACCESS
    try:
        with (
            connect(server) as driver,
            driver.session(database=server.database, default_access_mode=mode) as session,
        ):
            yield session
    except SettingsError as error:
        raise CommandError(Report("database", f"neo4j at {server.uri}: {error}")) from error
    except (DriverError, OSError) as error:  # lost connections; one reset while it is made comes bare
        raise UnavailableError(f"neo4j at {server.uri} is away: {_first_line(error)}") from error
    except Neo4jError as error:
        words = _first_line(error.message or error)
        if isinstance(error, AuthError) or (error.code or "").startswith("Neo.ClientError.Security."):
            raise _turned_away(server, words) from error
        if error.is_retryable():
            raise UnavailableError(f"neo4j at {server.uri} is busy, try again: {words}") from error
        report = Report(
            "database", f"neo4j at {server.uri} refuses: {words}", Exit.REFUSED, notes=_rest(error)
        )
        raise CommandError(report) from error


def _turned_away(server: Server, words: str) -> CommandError:
    message = f"neo4j at {server.uri} turns user {server.user!r} away: {words}"
    notes = ("give --user and --password-file, or DAGMANAGER_NEO4J_USER and DAGMANAGER_NEO4J_PASSWORD",)
    return CommandError(Report("settings", message, Exit.USAGE, notes=notes))


def _first_line(error: object) -> str:
    return str(error).split("\n", 1)[0].rstrip(": ")


def _rest(error: neo4j.exceptions.Neo4jError) -> tuple[str, ...]:
    return tuple((error.message or "").splitlines()[1:])
