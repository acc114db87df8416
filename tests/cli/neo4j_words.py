"""Commands that speak to Neo4j, run within the test's process; and a database in any state wanted."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import neo4j

from dagmanager.cli.main import dagmanager
from dagmanager.graph.neo4j.schema import create, drop_statement
from dagmanager.graph.neo4j.schema_inspection import items
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.cli.running import Done


def say(*words: str) -> Done:
    """`dagmanager WORDS`, without a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = dagmanager(words)
    return Done(code, out.getvalue(), err.getvalue())


def ask(address: str, cypher: str, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of one statement."""
    with connect(Server(address)) as driver, driver.session() as session:
        return [dict(row) for row in session.run(neo4j.Query(cypher), parameters)]


def schema_of(address: str) -> dict[str, str]:
    """Names of all constraints and indexes, with what they do."""
    with connect(Server(address)) as driver, driver.session() as session:
        return {each.name: str(each.shape) for each in items(session)}


def strip(address: str) -> None:
    """Remove every node, constraint and index."""
    wipe(address)
    with connect(Server(address)) as driver, driver.session() as session:
        for each in items(session):
            session.run(neo4j.Query(drop_statement(each))).consume()


def restore(address: str) -> None:
    """Our schema and nothing else, as other tests on the same server expect it."""
    strip(address)
    with connect(Server(address)) as driver, driver.session() as session:
        create(session)
