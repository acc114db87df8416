"""What every Graph promises of getting ready: it changes nothing, and it ends when it is told to."""

from __future__ import annotations

from dagmanager.engine.model.graph_port import Graph
from dagmanager.graph.neo4j.reads import EVERYDAY
from tests.graph.builders import content, event, holder, lineage_row, node, outcome, queue, sentinel, store

SHOWN = sentinel("c1")
ROWS = (
    node("n1"),
    queue("topic1", "n1"),
    content("c1", "n1"),
    SHOWN,
    holder("s1", SHOWN.key),
    lineage_row(at_ms=3),
    outcome("k1", "topic1"),
    event("stream", 1, 1),
)


class WarmUpContract:
    def test_it_changes_nothing(self, graph: Graph) -> None:
        store(graph, *ROWS)
        before = graph.rows()  # type: ignore[attr-defined]  # for audits, so no part of the port
        graph.warm_up(lambda: False)
        assert graph.rows() == before  # type: ignore[attr-defined]  # as above

    def test_it_stops_when_that_is_enough(self, graph: Graph) -> None:
        asked: list[int] = []

        def enough() -> bool:
            asked.append(1)
            return len(asked) > 2

        graph.warm_up(enough)
        assert len(asked) <= 3 < len(EVERYDAY)
