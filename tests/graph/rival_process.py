"""`python -m tests.graph.rival_process`: one rival as a process of its own.

Reads one line of JSON from standard input, prints `ready`, waits for another line, plays, and prints its answers.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import msgspec

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from dagmanager.topics.sqlite import SqliteTopics
from tests.graph.rivalry import HISTORIES, play
from tests.waiting import TIMEOUT_S


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
    server = Server(
        order.uri, connect_within_s=TIMEOUT_S, transaction_within_s=TIMEOUT_S, retry_within_s=TIMEOUT_S
    )
    with (
        connect(server) as driver,
        closing(SqliteFile(Path(order.topics), busy_ms=int(TIMEOUT_S * 1000))) as file,
    ):
        graph, topics = Neo4jGraph(driver, server), SqliteTopics(file)
        graph.epoch()
        print("ready", flush=True)
        sys.stdin.readline()
        played = play(graph, topics, order.mine, todo)
    print(msgspec.json.encode(played).decode(), flush=True)


if __name__ == "__main__":
    main()
