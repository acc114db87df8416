"""Opens a Neo4j database for one command; says in one error why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagmanager.terminal.report import CommandError, Exit, Report

if TYPE_CHECKING:
    import neo4j

    from dagmanager.graph.neo4j.server import Server


@contextmanager
def opened(server: Server, *, reads_only: bool = False) -> Iterator[neo4j.Session]:
    """A session with the leader. With `reads_only` the server itself refuses every write.

    Raises `UnavailableError` (exit 4) when it is unreachable or too busy, else `CommandError`: authentication
    failed (2), a statement that the database refuses, or a schema of another release (1). Blocks for the
    driver's connection timeout at most.
    """
    import neo4j
    from neo4j.exceptions import AuthError, DriverError, Neo4jError

    from dagmanager.errors import SettingsError, UnavailableError
    from dagmanager.graph.neo4j.retry import is_without_leader, writes_refused
    from dagmanager.graph.neo4j.server import connect

    mode = neo4j.READ_ACCESS if reads_only else neo4j.WRITE_ACCESS
    try:
        with (
            connect(server) as driver,
            driver.session(database=server.database, default_access_mode=mode) as session,
        ):
            yield session
    except SettingsError as error:
        raise CommandError(Report("database", f"neo4j at {server.uri}: {error}")) from error
    except (
        DriverError,
        OSError,
    ) as error:  # lost connections; one reset while it is opened is a bare OSError
        raise UnavailableError(f"neo4j at {server.uri} is unreachable: {_first_line(error)}") from error
    except Neo4jError as error:
        words = _first_line(error.message or error)
        if isinstance(error, AuthError) or (error.code or "").startswith("Neo.ClientError.Security."):
            raise _authentication_failed(server, words) from error
        if is_without_leader(error):
            raise UnavailableError(f"neo4j at {server.uri} {writes_refused(server)}: {words}") from error
        if error.is_retryable():
            raise UnavailableError(f"neo4j at {server.uri} is busy, try again: {words}") from error
        report = Report(
            "database", f"neo4j at {server.uri} refuses the statement: {words}", notes=_rest(error)
        )
        raise CommandError(report) from error


def _authentication_failed(server: Server, words: str) -> CommandError:
    message = f"authentication failed for user {server.user!r} at neo4j {server.uri}: {words}"
    helps = (  # every command has these two ways; `init` has no flags for them
        "set `neo4j_user` and `neo4j_password` in the settings, or DAGMANAGER_NEO4J_USER and "
        "DAGMANAGER_NEO4J_PASSWORD in the environment",
    )
    return CommandError(Report("settings", message, Exit.USAGE, helps=helps))


def _first_line(error: object) -> str:
    return str(error).split("\n", 1)[0].rstrip(": ")


def _rest(error: neo4j.exceptions.Neo4jError) -> tuple[str, ...]:
    return tuple((error.message or "").splitlines()[1:])
