"""A new node's queue keeps the TTL of the queue it replaces (F4)."""

from __future__ import annotations

import msgspec
import orjson

from dagmanager.assembly import assemble_over
from dagmanager.dag.model import Origin, Record
from dagmanager.engine.model.graph_port import Transaction
from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.reader import Reader
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.settings.table import Settings
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from examples.submissions import first_submissions, second_version
from tests.graph.builders import put

LONGER_MS = 123_456_789


def queues(graph: MemoryGraph) -> dict[str, QueueRow]:
    return {row.topic: row for row in graph.rows() if isinstance(row, QueueRow)}


def lengthen(tx: Transaction, topic: str) -> None:
    row = tx.queues_by_topic([topic])[topic]
    put(tx, [msgspec.structs.replace(row, ttl_ms=LONGER_MS)])


def test_the_second_version_of_a_node_keeps_the_ttl_of_the_first() -> None:
    graph = MemoryGraph(lambda: 1_000)
    parts = assemble_over(
        Settings(enable_topic_namespace=False), graph, MemoryTopics(), MemoryEvents(), MemoryAdminLog()
    )
    reader = Reader(parts.read_options)
    name = "MultiIndicatorStrategy"
    [first] = [each for each in first_submissions() if orjson.loads(each)["strategy_id"].endswith(name)]
    for position, value in enumerate((first, second_version())):
        record = Record(value, Origin("test", position=position), name.encode(), position)
        submissions = [each for each in reader.read(record) if not hasattr(each, "rejection")]
        parts.engine.submit(submissions)
        if position == 0:
            graph.transact(lambda tx: lengthen(tx, "asset_Node_3cd02d60_v1"))
    assert queues(graph)["asset_Node_458073fa_v2"].ttl_ms == LONGER_MS
