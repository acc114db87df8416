"""A private Neo4j: what chaos tests may do to it. Each test leaves it running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from neo4j import Driver, GraphDatabase
from neo4j.exceptions import AuthError, DriverError

from servers.launch import Launch
from servers.neo4j import Neo4jServer, nodes_in, wipe
from servers.ports import is_open


@pytest.fixture(scope="module")
def database(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    with Neo4jServer(tmp_path_factory.mktemp("neo4j"), password="not-a-secret", launch=launch) as started:
        yield started


@pytest.fixture
def driver(database: Neo4jServer) -> Iterator[Driver]:
    wipe(database.address, database.login)
    with GraphDatabase.driver(database.address, auth=database.login) as opened:
        yield opened


def test_only_clients_with_the_password_are_served(database: Neo4jServer, driver: Driver) -> None:
    driver.execute_query("RETURN 1")
    for login in (("neo4j", "guessed"), None):
        with GraphDatabase.driver(database.address, auth=login) as stranger, pytest.raises(AuthError):
            stranger.execute_query("RETURN 1")


def test_a_database_killed_and_restarted_keeps_its_address_and_nodes(
    database: Neo4jServer, driver: Driver
) -> None:
    address = database.address
    driver.execute_query("UNWIND range(1, 1000) AS i CREATE (:Kept {i: i})")
    database.kill()
    assert not is_open(database.port)
    database.start()
    assert database.address == address
    assert nodes_in(address, database.login) == 1000


def test_a_paused_database_makes_calls_time_out_until_it_is_resumed(database: Neo4jServer) -> None:
    # The kernel still accepts connections; the handshake gets no reply, which this limit covers.
    with GraphDatabase.driver(
        database.address, auth=database.login, connection_acquisition_timeout=1.0
    ) as client:
        database.pause()
        try:
            assert is_open(database.port)
            with pytest.raises(DriverError):
                client.verify_connectivity()
        finally:
            database.resume()
    with GraphDatabase.driver(database.address, auth=database.login) as client:
        client.verify_connectivity()


def test_a_wipe_deletes_more_than_one_batch(empty_neo4j: str) -> None:
    with GraphDatabase.driver(empty_neo4j) as driver:
        driver.execute_query("UNWIND range(1, 6000) AS i CREATE (:Many {i: i})-[:TO]->(:Other)")
    wipe(empty_neo4j)
    assert nodes_in(empty_neo4j) == 0


def test_a_setting_of_the_caller_overrides_the_tuned_one(launch: Launch, tmp_path: Path) -> None:
    server = Neo4jServer(tmp_path, settings={"db.transaction.timeout": "2s"}, launch=launch)
    assert server.settings()["db.transaction.timeout"] == "2s"
