"""What every Graph promises about tags: what is in force, which queries are registered, which queues are behind them.

Runs unchanged on a server, like `contract`.
"""

from __future__ import annotations

import pytest

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import Graph, TaggedQueue, TagQuestion
from dagmanager.engine.model.rows import QueueState
from dagmanager.engine.model.version_rows import SentinelState
from tests.graph.builders import (
    content,
    node,
    queue,
    sentinel,
    store,
    tags_in_force,
)

ANY_OF = TagQuery(("t1", "t2"), "any", 60)


class TagsContract:
    @pytest.mark.parametrize("state", SentinelState)
    def test_active_contents_are_in_force(self, graph: Graph, state: SentinelState) -> None:
        store(graph, node("n1"), content("c1", ("n1", ("t1",))), sentinel("c1", namespace="w", state=state))
        expected = ("t1",) if state is SentinelState.ACTIVE else ()
        assert graph.transact(lambda tx: tags_in_force(tx, ["n1"])).get("n1", ()) == expected

    def test_tags_in_force_are_the_sorted_union(self, graph: Graph) -> None:
        store(
            graph,
            node("n1"),
            node("n2"),
            content("c1", ("n1", ("t3", "t1")), ("n2", ())),
            content("c2", ("n1", ("t1", "t2"))),
            content("c3", ("n1", ("t4",))),
            sentinel("c1", "l1"),
            sentinel("c2", "l2", "w"),
            sentinel("c3", "l3", state=SentinelState.PARKED),
        )
        found = graph.transact(lambda tx: tags_in_force(tx, ["n1", "n2", "n3"]))
        assert [found.get(node_id, ()) for node_id in ("n1", "n2", "n3")] == [("t1", "t2", "t3"), (), ()]

    def test_registered_tag_queries_that_name_any_of_the_tags(self, graph: Graph) -> None:
        other = {
            "all": TagQuery(("t1", "t9"), "all", 60),
            "slow": TagQuery(("t1",), "any", 3600),
            "none": TagQuery(("t1",), "any", None),
            "else": TagQuery(("t9",), "any", 60),
            "idle": ANY_OF,
        }
        rows = {name: node(name, query=query) for name, query in other.items()}
        rows["any"] = node("any", query=ANY_OF)
        rows["plain"] = node("plain", tags=("t1",))
        store(graph, *rows.values())
        store(graph, content("c1", "any", "all", "slow", "none", "else", "plain"), sentinel("c1"))
        store(graph, content("c2", "idle"), sentinel("c2", "l2", state=SentinelState.SUPERSEDED))
        assert graph.transact(lambda tx: tx.tag_queries([("t1", 60)])) == (rows["all"], rows["any"])
        assert graph.transact(lambda tx: tx.tag_queries([("t2", 60), ("t9", 60), ("t1", 7)])) == (
            rows["all"],
            rows["any"],
            rows["else"],
        )
        assert graph.transact(lambda tx: tx.tag_queries([("t1", 3600)])) == (rows["slow"],)
        assert graph.transact(lambda tx: tx.tag_queries([("t7", 60)])) == ()
        assert graph.transact(lambda tx: tx.tag_queries([])) == ()

    def tagged(
        self, graph: Graph, *tags: str, mode: str = "any", namespace: str = "", interval: int = 60
    ) -> list[str]:
        outside = graph.tagged(tags, interval, mode, namespace)
        assert outside == graph.transact(lambda tx: tx.tagged(tags, interval, mode, namespace))
        asked = TagQuestion(tags, interval, mode, namespace)
        other = TagQuestion(("unused",), interval, mode, namespace)
        assert graph.transact(lambda tx: tx.tagged_sets([asked, other, asked])) == (outside, (), outside)
        return [found.topic for found in outside]

    def test_any_all_and_none(self, graph: Graph) -> None:
        store(
            graph,
            node("n1", tags=("t1",)),
            node("n2", tags=("t1", "t2")),
            node("n3", tags=("t2",)),
            node("n4"),
        )
        store(graph, queue("z", "n1"), queue("y", "n2"), queue("x", "n3"), queue("w", "n4"))
        assert self.tagged(graph, "t1") == ["y", "z"]
        assert self.tagged(graph, "t1", "t2") == ["x", "y", "z"]
        assert self.tagged(graph, "t1", "t2", mode="all") == ["y"]
        assert self.tagged(graph, "t1", "t9") == ["y", "z"]
        assert self.tagged(graph, "t1", "t9", mode="all") == []
        assert self.tagged(graph) == self.tagged(graph, mode="all") == []
        assert self.tagged(graph, "t1", interval=0) == []

    def test_what_a_result_says(self, graph: Graph) -> None:
        store(graph, node("n1", tags=("t1", "t2"), global_=True), queue("b", "n1"))
        assert graph.tagged(("t1",), 60, "any", "") == (TaggedQueue("b", True, ("t1", "t2")),)

    def test_one_namespace_at_a_time(self, graph: Graph) -> None:
        store(graph, node("n1", tags=("t1",)), queue("b", "n1"), queue("w.b", "n1", "w"))
        assert self.tagged(graph, "t1") == ["b"]
        assert self.tagged(graph, "t1", namespace="w") == ["w.b"]
        assert self.tagged(graph, "t1", namespace="other") == []

    def test_safe_copies_and_tag_queries_are_never_results(self, graph: Graph) -> None:
        store(graph, node("n1", tags=("t1",)), queue("b", "n1", safe="s1"))
        store(graph, node("n2", tags=("t1",), query=ANY_OF), queue("c", "n2"))
        assert self.tagged(graph, "t1") == []

    @pytest.mark.parametrize("state", QueueState)
    def test_only_active_queues(self, graph: Graph, state: QueueState) -> None:
        store(graph, node("n1", tags=("t1",)), queue("b", "n1", state=state))
        assert self.tagged(graph, "t1") == (["b"] if state is QueueState.ACTIVE else [])

    def test_a_moved_tag_moves_the_result(self, graph: Graph, rival: Graph) -> None:
        store(graph, node("n1", tags=("t1",)), queue("b", "n1"))
        assert self.tagged(rival, "t1") == ["b"]
        store(graph, node("n1", tags=("t2",)))
        assert (self.tagged(rival, "t1"), self.tagged(rival, "t2")) == ([], ["b"])
