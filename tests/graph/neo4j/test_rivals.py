"""Rivals on a server with isolation read committed, where a missing lock shows.

Threads and processes, each with a graph and an engine of its own, submit what overlaps all at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import neo4j
import pytest

from chaos.relations import contradictions, cypher_view, queues_of_another_interval
from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.rows import ContentRow, NodeRow
from dagmanager.engine.model.topics_port import Topics
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from dagmanager.topics.memory import MemoryTopics
from dagmanager.topics.sqlite import SqliteTopics
from tests.graph.rival_process import Order
from tests.graph.rivalry import (
    HISTORIES,
    NODES,
    Played,
    assert_published_once,
    assert_same_answers,
    assert_sound,
    play,
    together,
)
from tests.waiting import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[3]
THREADS = 5
PROCESSES = 3


@pytest.fixture
def graph(neo4j_server: Server, driver: neo4j.Driver) -> Neo4jGraph:
    return Neo4jGraph(driver, neo4j_server)


def in_threads(server: Server, topics: Topics, history: str, rounds: int) -> list[Played]:
    works: list[Callable[[], Played]] = [
        partial(one_thread, server, topics, history, mine, rounds) for mine in range(THREADS)
    ]
    return together(works)


def one_thread(server: Server, topics: Topics, history: str, mine: int, rounds: int) -> Played:
    with connect(server) as driver:
        return play(Neo4jGraph(driver, server), topics, mine, HISTORIES[history](mine, rounds))


def in_processes(server: Server, file: Path, history: str, rounds: int) -> list[Played]:
    command = [sys.executable, "-m", "tests.graph.rival_process"]
    begun = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for mine, process in enumerate(begun):
            order = Order(server.uri, str(file), history, mine, rounds)
            send_line(process, msgspec.json.encode(order).decode())
        assert [read_line(process) for process in begun] == ["ready\n"] * PROCESSES
        for process in begun:
            send_line(process, "go")
        return [
            msgspec.json.decode(process.communicate(timeout=TIMEOUT_S)[0], type=Played) for process in begun
        ]
    finally:
        for process in begun:
            with process:
                process.kill()


def send_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def check(graph: Neo4jGraph, driver: neo4j.Driver, topics: Sequence[str], played: list[Played]) -> None:
    rows = graph.rows()
    assert_same_answers(played)
    assert_sound(rows, topics)
    assert_published_once(rows, played)
    with driver.session() as session:
        assert contradictions(cypher_view(session), rows) == []
        assert queues_of_another_interval(session) == ()
    print([(one.transactions, one.reruns) for one in played])


@pytest.mark.parametrize("attempt", range(2))
def test_the_same_dag_from_several_threads(
    neo4j_server: Server, graph: Neo4jGraph, driver: neo4j.Driver, attempt: int
) -> None:
    topics = MemoryTopics()
    played = in_threads(neo4j_server, topics, "same dag", rounds=2)
    check(graph, driver, topics.names(), played)
    assert len([row for row in graph.rows() if isinstance(row, NodeRow)]) == len(NODES)
    assert len([row for row in graph.rows() if isinstance(row, ContentRow)]) == 1


def test_version_changes_over_shared_nodes_from_several_threads(
    neo4j_server: Server, graph: Neo4jGraph, driver: neo4j.Driver
) -> None:
    topics = MemoryTopics()
    played = in_threads(neo4j_server, topics, "version changes", rounds=10)
    check(graph, driver, topics.names(), played)


@pytest.mark.parametrize(("history", "rounds"), [("same dag", 2), ("version changes", 12)])
def test_several_processes(
    neo4j_server: Server,
    graph: Neo4jGraph,
    driver: neo4j.Driver,
    tmp_path: Path,
    history: str,
    rounds: int,
) -> None:
    file = tmp_path / "topics.sqlite"
    with closing(SqliteFile(file)) as opened:
        topics = SqliteTopics(opened)
        played = in_processes(neo4j_server, file, history, rounds)
        check(graph, driver, topics.names(), played)


def test_every_raise_gives_another_epoch(neo4j_server: Server, graph: Neo4jGraph) -> None:
    def raised() -> list[int]:
        with connect(neo4j_server) as driver:
            mine = Neo4jGraph(driver, neo4j_server)
            return [mine.transact(lambda tx: tx.raise_epoch()) for _ in range(20)]

    found = together([raised] * THREADS)
    assert sorted(each for one in found for each in one) == list(range(1, 20 * THREADS + 1))
    assert all(one == sorted(one) for one in found)
    assert graph.epoch() == 20 * THREADS
