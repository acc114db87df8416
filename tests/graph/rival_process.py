"""`python -m tests.graph.rival_process`: one rival as a process of its own.

Takes one line of JSON on standard input, says `ready`, waits for another line, plays, and prints what it was told.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import msgspec

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.graph.neo4j.graph import Neo4jGraph, Server, connect
from dagmanager.topics.sqlite import SqliteTopics
from tests.graph.rivalry import HISTORIES, play


class Order(msgspec.Struct):
    """Which part this process plays, and where."""

    uri: str
    topics: str
    history: str
    mine: int
    rounds: int


def main() -> None:
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    todo = HISTORIES[order.history](order.mine, order.rounds)
    server = Server(order.uri)
    with connect(server) as driver, closing(SqliteFile(Path(order.topics), busy_ms=30_000)) as file:
        graph, topics = Neo4jGraph(driver, server), SqliteTopics(file)
        graph.epoch()
        print("ready", flush=True)
        sys.stdin.readline()
        played = play(graph, topics, order.mine, todo)
    print(msgspec.json.encode(played).decode(), flush=True)


if __name__ == "__main__":
    main()
