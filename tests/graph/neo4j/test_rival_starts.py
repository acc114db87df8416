"""Processes that start at once on a new database; found by `make chaos`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import neo4j as driver

from dagmanager.graph.neo4j import schema
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from tests.waiting import TIMEOUT_S

STARTS = 4
ROUNDS = 2


def test_every_process_finds_the_schema(empty_neo4j: str) -> None:
    server = Server(
        empty_neo4j, connect_within_s=TIMEOUT_S, transaction_within_s=TIMEOUT_S, retry_within_s=TIMEOUT_S
    )
    graphs = [Neo4jGraph(connect(server), server) for _ in range(STARTS)]
    for _ in range(ROUNDS):
        with driver.GraphDatabase.driver(empty_neo4j) as own, own.session() as session:
            schema.drop(session)
        with ThreadPoolExecutor(STARTS) as pool:
            started = [pool.submit(graph.prepare, create=True) for graph in graphs]
        assert {name for each in started for name in each.result()} <= set(schema.names())
        for graph in graphs:
            assert graph.prepare(create=False) == ()
    for graph in graphs:
        graph.close()
