"""The implementations that the contract runs on: a new store is one more entry here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import neo4j as driver_package
import pytest

from dagmanager.engine.model.graph_port import Graph
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.waiting import TIMEOUT_S

pytest.register_assert_rewrite(
    "tests.engine.crash_scenarios",
    "tests.graph.contract",
    "tests.graph.contract_add_holder",
    "tests.graph.contract_claims",
    "tests.graph.contract_locks",
    "tests.graph.contract_questions",
    "tests.graph.contract_reachable",
    "tests.graph.contract_rivals",
    "tests.graph.contract_tags",
    "tests.graph.rivalry",
)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="session")
def neo4j_server(neo4j: str) -> Server:
    """This worker's own database with our schema."""
    server = Server(
        neo4j, connect_within_s=TIMEOUT_S, transaction_within_s=TIMEOUT_S, retry_within_s=TIMEOUT_S
    )
    with connect(server) as driver:
        Neo4jGraph(driver, server).prepare(create=True)
    return server


@pytest.fixture
def driver(neo4j_server: Server) -> Iterator[driver_package.Driver]:
    """A client of that database, which is empty at first."""
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as opened:
        yield opened


@contextmanager
def on_neo4j(server: Server) -> Iterator[Callable[[], Graph]]:
    wipe(server.uri)
    with ExitStack() as opened:

        def another() -> Graph:
            return Neo4jGraph(opened.enter_context(connect(server)), server)

        yield another


@pytest.fixture(params=["memory", "sqlite", pytest.param("neo4j", marks=pytest.mark.live("neo4j"))])
def handles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Graph]]:
    """Opens further handles on one graph that is empty at first, as other processes would."""
    if request.param == "memory":
        only = MemoryGraph(wall_ms)
        yield lambda: only
        return
    if request.param == "neo4j":
        with on_neo4j(request.getfixturevalue("neo4j_server")) as another_handle:
            yield another_handle
        return
    opened: list[SqliteGraph] = []

    def another() -> Graph:
        opened.append(SqliteGraph(tmp_path / "graph.sqlite", wall_ms))
        return opened[-1]

    yield another
    for each in opened:
        with closing(each):
            pass


@pytest.fixture
def graph(handles: Callable[[], Graph]) -> Graph:
    return handles()


@pytest.fixture
def rival(graph: Graph, handles: Callable[[], Graph]) -> Graph:
    """Another process's handle on the same graph."""
    return handles()
