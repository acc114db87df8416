"""The minimum cost of new nodes: the bare calls to database and broker, without the product.

`claim` writes a node and a queue for each in one transaction, `create` and `describe` create the topics and wait until
each has a leader, `activate` marks the queues in another transaction.

`BESIDE` are bare calls for what else must be written of new nodes (docs/semantics.md 3, 6, 7, 8; R3): `mark` marks topics
as requested, `log` writes to the admin log, `content` links the nodes, `tags` links each node to
its tag, `events` publishes each list of queues.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, LiteralString

import neo4j
from confluent_kafka import KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

# Separate labels: a process that reads the graph would stop at rows that the product did not write.
_CONSTRAINTS: Final[tuple[LiteralString, ...]] = (
    "CREATE CONSTRAINT bare_node IF NOT EXISTS FOR (n:BareNode) REQUIRE n.node_id IS UNIQUE",
    "CREATE CONSTRAINT bare_queue IF NOT EXISTS FOR (q:BareQueue) REQUIRE q.topic IS UNIQUE",
)
_CLAIM: Final[LiteralString] = """
UNWIND $rows AS r
MERGE (n:BareNode {node_id: r.id}) SET n += r.p
MERGE (q:BareQueue {topic: r.topic}) SET q += r.p
CREATE (n)-[:EMITS]->(q)
"""
_ACTIVATE: Final[LiteralString] = """
UNWIND $topics AS t MATCH (q:BareQueue {topic: t}) SET q.state = 'active', q.topic_id = t
"""
_MARK: Final[LiteralString] = "UNWIND $topics AS t MATCH (q:BareQueue {topic: t}) SET q.begun = true"
_CONTENT: Final[LiteralString] = """
CREATE (c:BareContent {digest: $mark})
WITH c UNWIND $rows AS r
MATCH (n:BareNode {node_id: r.id})
CREATE (c)-[:CONTAINS {name: r.topic, position: 0, schema_hash: r.id}]->(n)
"""
_TAGS: Final[LiteralString] = """
UNWIND $rows AS r
MATCH (n:BareNode {node_id: r.id}) SET n += r.p CREATE (n)-[:TAGGED]->(:BareTag {key: r.id})
"""
_EVENTS: Final[LiteralString] = """
UNWIND $lists AS k CREATE (:BareTagSet {key: k, revision: 1}) CREATE (:BareEvent {key: k, row: $row})
"""
_FORGET: Final[LiteralString] = """
UNWIND $rows AS r
MATCH (n:BareNode {node_id: r.id})-[:EMITS]->(q:BareQueue)
OPTIONAL MATCH (n)-[:TAGGED]->(t) DETACH DELETE n, q, t
"""
_FORGET_MORE: Final[LiteralString] = """
MATCH (x:BareContent|BareTagSet|BareEvent) DELETE x
"""
BESIDE: Final = ("mark_ms", "log_ms", "content_ms", "tags_ms", "events_ms")
ROW: Final = bytes(400)
RETENTION: Final = {"retention.ms": "604800000"}


class Floors:
    """Connected clients of both servers, warmed up."""

    def __init__(self, kafka: str, bolt: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
        self._producer = Producer({"bootstrap.servers": kafka, "acks": "all", "enable.idempotence": True})
        self._driver = neo4j.GraphDatabase.driver(bolt)
        for constraint in _CONSTRAINTS:
            self._driver.execute_query(constraint)

    def measure(self, partitions: Sequence[int], lists: int, log_topic: str) -> dict[str, float]:
        """Milliseconds of each call for new nodes, one per entry of `partitions` (of its topic), under `lists` tags."""
        mark = uuid.uuid4().hex[:8]
        body = {"row": ROW, "state": "provisioning", "node_type": "ProcessingNode", "interval": 60}
        rows: list[dict[str, Any]] = [
            {"id": f"floor:{mark}:{each}", "topic": f"floor-{mark}-{each}", "p": body}
            for each in range(len(partitions))
        ]
        topics = [row["topic"] for row in rows]
        keys = [f"{mark}:{each}" for each in range(lists)]
        taken = {
            "claim_ms": timed(lambda: self._run(_CLAIM, rows=rows)),
            "content_ms": timed(lambda: self._run(_CONTENT, rows=rows, mark=mark)),
            "mark_ms": timed(lambda: self._run(_MARK, topics=topics)),
            "create_ms": timed(lambda: self._create(dict(zip(topics, partitions, strict=True)))),
            "describe_ms": timed(lambda: self._describe(topics)),
            "log_ms": timed(lambda: self._log(log_topic, topics)),
            "activate_ms": timed(lambda: self._run(_ACTIVATE, topics=topics)),
            "tags_ms": timed(lambda: self._run(_TAGS, rows=rows)),
            "events_ms": timed(lambda: self._run(_EVENTS, lists=keys, row=ROW)),
        }
        self._run(_FORGET, rows=rows)
        self._run(_FORGET_MORE)
        for done in self._admin.delete_topics(topics, operation_timeout=30, request_timeout=30).values():
            done.result()
        return taken

    def close(self) -> None:
        """Close the client."""
        self._driver.close()

    def _run(self, statement: LiteralString, **given: Any) -> None:
        with self._driver.session() as session:
            session.execute_write(lambda tx: tx.run(statement, **given).consume())

    def _create(self, topics: dict[str, int]) -> None:
        wanted = [NewTopic(topic, count, 1, config=RETENTION) for topic, count in topics.items()]
        for done in self._admin.create_topics(wanted, operation_timeout=30, request_timeout=30).values():
            done.result()

    def _log(self, topic: str, created: list[str]) -> None:
        for each in created:
            self._producer.produce(topic, ROW, each.encode())
        self._producer.flush()

    def _describe(self, topics: list[str]) -> None:
        missing = topics
        while missing:
            asked = self._admin.describe_topics(TopicCollection(missing), request_timeout=30)
            missing = [topic for topic, answer in asked.items() if not has_leaders(answer)]


def has_leaders(answer: Any) -> bool:
    """Whether a topic has leaders."""
    try:
        return all(each.leader is not None and each.leader.id >= 0 for each in answer.result().partitions)
    except KafkaException:  # not known yet
        return False


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1_000
