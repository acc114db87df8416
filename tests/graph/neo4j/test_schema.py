"""The schema on a real server: created twice, exported, dropped, created from the export, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import neo4j
import pytest

from dagmanager.errors import SettingsError
from dagmanager.graph.model_version import MODEL
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.schema import check, create, drop, export, foreign_labels, names
from dagmanager.graph.neo4j.schema_inspection import items
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.graph.builders import node, store
from tests.waiting import until

POPULATING: LiteralString = "SHOW INDEXES YIELD state WHERE state = 'POPULATING' RETURN count(*) AS count"


@pytest.fixture
def session(neo4j_server: Server) -> Iterator[neo4j.Session]:
    """A database with our schema and no data; the fixture restores both after the test."""
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as driver, driver.session() as opened:
        create(opened)
        before = items(opened)
        yield opened
        wipe(neo4j_server.uri)
        if items(opened) != before:  # else the server would plan every statement again for nothing
            drop(opened)
        create(opened)


def described(session: neo4j.Session) -> list[tuple[object, ...]]:
    """The constraints and indexes of the server, without its own ids and times.

    A new index is populated in the background: its state is compared once it is settled.
    """
    until(lambda: not session.run(POPULATING).single(strict=True)["count"], "indexes are still populating")
    constraints = session.run("SHOW CONSTRAINTS YIELD name, type, labelsOrTypes, properties")
    indexes = session.run("SHOW INDEXES YIELD name, type, labelsOrTypes, properties, state, owningConstraint")
    return sorted(
        tuple(str(value) for value in row.values())
        for found in (list(constraints), list(indexes))
        for row in found
    )


def test_creating_it_again_creates_nothing(session: neo4j.Session) -> None:
    before = described(session)
    assert create(session) == ()
    assert described(session) == before
    check(session)


def test_creating_it_reports_what_was_created(session: neo4j.Session) -> None:
    session.run("DROP INDEX tag_of").consume()
    session.run("DROP CONSTRAINT compute_base").consume()
    assert set(create(session)) == {"tag_of", "compute_base"}
    assert create(session) == ()


def test_dropping_says_what_was_there_and_leaves_the_data(
    neo4j_server: Server, session: neo4j.Session
) -> None:
    with connect(neo4j_server) as driver:
        graph = Neo4jGraph(driver, neo4j_server)
        store(graph, node("n1"))
        assert set(drop(session)) == set(names())
        assert drop(session) == ()
        assert graph.rows() == (node("n1"),)
        assert set(create(session)) == set(names())
        assert graph.rows() == (node("n1"),)


def test_the_export_makes_everything_again(session: neo4j.Session) -> None:
    before, text = described(session), export(session)
    drop(session)
    assert not [line for line in described(session) if "LOOKUP" not in str(line)]
    for _ in range(2):  # it may be applied where it is there already
        for statement in text.split(";\n")[:-1]:
            session.run(neo4j.Query(statement)).consume()
    assert described(session) == before
    assert export(session) == text
    check(session)


def test_the_export_of_an_index_of_another_product_is_exact(session: neo4j.Session) -> None:
    session.run(
        "CREATE INDEX `odd ``name FOR x` IF NOT EXISTS FOR (x:`Strange FOR Label`) ON (x.`a b`)"
    ).consume()
    try:
        before, text = described(session), export(session)
        session.run("DROP INDEX `odd ``name FOR x`").consume()
        for statement in text.split(";\n")[:-1]:
            session.run(neo4j.Query(statement)).consume()
        assert described(session) == before
    finally:
        session.run("DROP INDEX `odd ``name FOR x` IF EXISTS").consume()


@pytest.mark.parametrize("statement", ["DROP INDEX queue_binding", "DROP CONSTRAINT kafka_topic"])
def test_a_missing_index_is_named_with_the_way_out(session: neo4j.Session, statement: str) -> None:
    session.run(neo4j.Query(statement)).consume()
    with pytest.raises(SettingsError, match=rf"{statement.rsplit(maxsplit=1)[-1]}.*dagmanager init"):
        check(session)


def test_a_newer_version_is_refused_and_left_alone(session: neo4j.Session) -> None:
    session.run("MATCH (v:DagManagerSchema) SET v.version = $newer", newer=MODEL + 1).consume()
    with pytest.raises(SettingsError, match="newer release"):
        check(session)
    with pytest.raises(SettingsError, match="newer release"):
        create(session)
    found = session.run("MATCH (v:DagManagerSchema) RETURN v.version AS version").single(strict=True)
    assert found["version"] == MODEL + 1


def test_an_older_version_is_refused_with_the_command_that_updates_it(session: neo4j.Session) -> None:
    session.run("MATCH (v:DagManagerSchema) SET v.version = $older", older=MODEL - 1).consume()
    with pytest.raises(SettingsError, match="dagmanager init"):
        check(session)
    create(session)
    check(session)


def test_an_index_of_another_shape_under_our_name_is_not_taken_for_ours(session: neo4j.Session) -> None:
    session.run("DROP INDEX tag_of").consume()
    session.run("CREATE INDEX tag_of FOR (x:Elsewhere) ON (x.key)").consume()
    try:
        with pytest.raises(SettingsError, match="tag_of"):
            check(session)
        with pytest.raises(SettingsError, match="tag_of"):
            create(session)
    finally:
        session.run("DROP INDEX tag_of").consume()
    assert create(session) == ("tag_of",)


def test_labels_of_other_products_are_reported(neo4j_server: Server, session: neo4j.Session) -> None:
    with connect(neo4j_server) as driver:
        store(Neo4jGraph(driver, neo4j_server), node("n1", tags=["a"]))
    session.run("CREATE (:Person {name: 'x'}), (:Animal)").consume()
    assert set(foreign_labels(session)) >= {"Animal", "Person"}
    assert "ComputeNode" not in foreign_labels(session)
    session.run("MATCH (x:Person|Animal) DELETE x").consume()
    assert foreign_labels(session) == ()
