"""Other data on the same servers: nodes in the graph and topics on the broker that no submission uses."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import neo4j
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.live.site import Site
from dagmanager.engine.model.rows import Binding, NodeRow, QueueRow, QueueState, TopicSpec
from dagmanager.graph.neo4j.row_mapping import parameters

BATCH: Final = 10_000
TOPICS_AT_ONCE: Final = 500
# As the flow writes them, to an empty database.
_CROWD: Final[LiteralString] = """
UNWIND $rows AS r
CREATE (n:ComputeNode {node_id: r.node.key}) SET n += r.node.p
CREATE (q:Queue {topic: r.queue.key}) SET q += r.queue.p
CREATE (n)-[:EMITS]->(q)
"""


def nodes(place: Site, count: int, live: int) -> None:
    """Write `count` more nodes with a queue each; the first `live` queues are active and need `topics`, the others are
    archived."""
    with neo4j.GraphDatabase.driver(place.neo4j.address) as driver, driver.session() as session:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            session.run(_CROWD, rows=[_rows(number, number < live) for number in numbers]).consume()
        session.run("CALL db.resampleOutdatedIndexes()").consume()


def _rows(number: int, live: bool) -> dict[str, Any]:
    node_id, topic = f"blake3:crowd{number:059}", f"crowd.{number}"
    node = NodeRow(
        node_id=node_id,
        node_type="ProcessingNode",
        interval=60,
        period=100,
        params_canon='{"window":5}',
        dependencies=(),
        schema_compat_id="c1",
        code_hash=f"{number:064x}",
        created_ms=1,
        base_name=topic,
        topic_type="indicator",
        schema_hash=f"{number:064x}",
        name=f"crowd {number}",
    )
    state = QueueState.ACTIVE if live else QueueState.ARCHIVED
    queue = QueueRow(topic, Binding(node_id, "", ""), state, 1, TopicSpec(1, 1, 1_000), "indicator", 1_000, 1)
    return {"node": parameters(node), "queue": parameters(queue)}


def topics(place: Site, count: int) -> None:
    """Create `count` more topics with one partition."""
    client = AdminClient({"bootstrap.servers": place.kafka.address})
    for first in range(0, count, TOPICS_AT_ONCE):
        wanted = [
            NewTopic(f"crowd.{each}", 1, 1) for each in range(first, min(first + TOPICS_AT_ONCE, count))
        ]
        for done in client.create_topics(wanted, operation_timeout=60, request_timeout=60).values():
            done.result()
