"""Others on the same servers: nodes in the graph and topics on the broker that no submission names."""

from __future__ import annotations

from typing import Final, LiteralString

import neo4j
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.live.site import Site

BATCH: Final = 10_000
TOPICS_AT_ONCE: Final = 500
# As the flow writes them, as far as a lookup could stumble over them.
_CROWD: Final[LiteralString] = """
UNWIND range($first, $last) AS i
CREATE (n:ComputeNode {node_id: 'crowd:' + i, base_folded: 'crowd_' + i, row: $row, interval: 60})
CREATE (q:Queue {topic: 'crowd.' + i, topic_folded: 'crowd_' + i, binding: 'crowd:' + i, state: 'active',
                 namespace: '', safe: '', row: $row})
CREATE (n)-[:EMITS]->(q)
"""


def nodes(place: Site, count: int) -> None:
    """So many more nodes with a queue each."""
    with neo4j.GraphDatabase.driver(place.neo4j.address) as driver, driver.session() as session:
        for first in range(0, count, BATCH):
            given = {"first": first, "last": min(first + BATCH, count) - 1, "row": bytes(300)}
            session.run(_CROWD, given).consume()
        session.run("CALL db.resampleOutdatedIndexes()").consume()


def topics(place: Site, count: int) -> None:
    """So many more topics of one partition."""
    client = AdminClient({"bootstrap.servers": place.kafka.address})
    for first in range(0, count, TOPICS_AT_ONCE):
        wanted = [
            NewTopic(f"crowd.{each}", 1, 1) for each in range(first, min(first + TOPICS_AT_ONCE, count))
        ]
        for done in client.create_topics(wanted, operation_timeout=60, request_timeout=60).values():
            done.result()
