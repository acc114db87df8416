"""The least that any flow between two topics does: read a record, write an answer of the same size.

    python -m benchmarks.live.relay SERVERS BOLT INTO OUT BYTES WRITE MEMBERS

Parses and decides nothing. Before each answer it writes to the database what any flow must write:
`nothing`; a `holder` (two nodes and a relationship, for a known DAG under a new id); or a `content` (one
relationship for each of MEMBERS nodes, with the properties that the requirements name, for a new version). Started by
`benchmarks.live.steady`.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any, Final, LiteralString

import neo4j
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

_HOLDER: Final[LiteralString] = """
CREATE (h:FloorHolder {key: $p.key}) CREATE (o:FloorOutcome {key: $p.key}) CREATE (h)-[:FLOOR_HOLDS]->(o)
"""
_NODES: Final[LiteralString] = "UNWIND $p.rows AS r CREATE (n:FloorNode {node_id: r.id})"
_INDEX: Final[LiteralString] = """
CREATE CONSTRAINT floor_node IF NOT EXISTS FOR (n:FloorNode) REQUIRE n.node_id IS UNIQUE
"""
_CONTENT: Final[LiteralString] = """
CREATE (c:FloorContent {digest: $p.key})
WITH c UNWIND $p.rows AS r MATCH (n:FloorNode {node_id: r.id}) CREATE (c)-[m:FLOOR_CONTAINS]->(n) SET m = r.p
"""


class Writes:
    """What is written to the database before an answer."""

    def __init__(self, bolt: str, members: int) -> None:
        self._driver = neo4j.GraphDatabase.driver(bolt)
        mark = uuid.uuid4().hex
        self._rows = [
            {
                "id": f"blake3:{mark}{number:032}",
                "p": {"name": f"n{number}", "tags": [f"t{number // 10}"], "schema_hash": f"{number:064x}"},
            }
            for number in range(members)
        ]

    def nothing(self) -> None:
        """Nothing: the answer is cached."""

    def holder(self) -> None:
        """One auto-commit statement."""
        self._run(_HOLDER)

    def content(self) -> None:
        """One auto-commit statement."""
        self._run(_CONTENT, rows=self._rows)

    def prepare(self) -> None:
        """Create the nodes that contents link to."""
        self._run(_INDEX)
        self._run(_NODES, rows=self._rows)

    def _run(self, statement: LiteralString, **given: Any) -> None:
        with self._driver.session() as session:
            session.run(statement, p={"key": uuid.uuid4().hex, **given}).consume()


def relay(servers: str, into: str, out: str, answer: bytes, write: Callable[[], None]) -> None:
    """Run until killed."""
    shared = {"bootstrap.servers": servers, "log_level": 2}
    consumer = Consumer(
        shared | {"group.id": "relay", "enable.auto.commit": False, "queued.max.messages.kbytes": 32 * 1024}
    )
    producer = Producer(
        shared
        | {"linger.ms": 0, "acks": "all", "enable.idempotence": True, "message.max.bytes": 64 * 1024 * 1024}
    )
    consumer.assign([TopicPartition(into, 0, OFFSET_BEGINNING)])
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        write()
        producer.produce(out, answer, (message.key() or b"").removeprefix(b"ingest:"))
        producer.flush()


def main(servers: str, bolt: str, into: str, out: str, *asked: str) -> None:
    """Prints `ready` when the database is prepared."""
    size, write, members = asked
    writes = Writes(bolt, int(members))
    if write == "content":
        writes.prepare()
    head = {"status": "ok", "chunk": 0, "chunks": 1, "filled": ""}
    answer = orjson.dumps(head | {"filled": "x" * max(int(size) - len(orjson.dumps(head)), 0)})
    print("ready", flush=True)
    relay(servers, into, out, answer, getattr(writes, write))


if __name__ == "__main__":
    main(*sys.argv[1:])
