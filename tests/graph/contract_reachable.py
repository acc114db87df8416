"""What may not be deleted: everything that a referencing content needs, over any number of dependencies."""

from __future__ import annotations

from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.version_rows import SentinelState
from dagmanager.engine.transactions.reachable import dependents_to_lock, reachable
from tests.graph.builders import content, node, sentinel, store


def kept(graph: Graph, namespace: str, *node_ids: str) -> set[str]:
    def work(tx: Transaction) -> set[str]:
        tx.lock(Locks(nodes=tuple(sorted(dependents_to_lock(tx, node_ids)))))
        return set(reachable(tx, namespace, node_ids))

    return graph.transact(work)


CHAIN = [node("far"), node("middle", depends_on=["far"]), node("near", depends_on=["middle", "unsent"])]


class ReachableContract:
    def test_dependents_are_direct_ones(self, graph: Graph) -> None:
        store(graph, *CHAIN, node("other", depends_on=["far"]))
        asked = ["far", "middle", "near", "unsent", "strange"]
        assert graph.transact(lambda tx: dict(tx.dependents(asked))) == {
            "far": {"middle", "other"},
            "middle": {"near"},
            "unsent": {"near"},
        }
        assert graph.transact(lambda tx: dict(tx.dependents([]))) == {}

    def test_a_transitive_dependency_of_a_content_in_force_is_kept(self, graph: Graph) -> None:
        store(graph, *CHAIN, content("c1", "near"), sentinel("c1"))
        assert kept(graph, "", "far", "middle", "near", "unsent") == {"far", "middle", "near", "unsent"}

    def test_each_namespace_keeps_its_own(self, graph: Graph) -> None:
        store(graph, *CHAIN, content("c1", "near"), sentinel("c1", namespace="w"))
        assert kept(graph, "w", "far") == {"far"}
        assert kept(graph, "", "far") == set()

    def test_a_superseded_content_keeps_nothing(self, graph: Graph) -> None:
        store(graph, *CHAIN, content("c1", "near"), sentinel("c1", state=SentinelState.SUPERSEDED))
        assert kept(graph, "", "far", "near") == set()

    def test_a_dependent_without_a_reference_keeps_nothing(self, graph: Graph) -> None:
        store(graph, *CHAIN, node("loner", depends_on=["far"]), content("c1", "middle"), sentinel("c1"))
        assert kept(graph, "", "near", "loner", "far") == {"far"}

    def test_a_diamond_is_walked_once(self, graph: Graph) -> None:
        rows = [node("n0")]
        for level in range(1, 40):  # 2**39 paths lead from the first to the last
            below = ["n0"] if level == 1 else [f"a{level - 1}", f"b{level - 1}"]
            rows += [node(f"{side}{level}", depends_on=below) for side in "ab"]
        store(graph, *rows, content("c1", "a39"), sentinel("c1"))
        assert kept(graph, "", "n0", "b39", "b38") == {"n0", "b38"}
