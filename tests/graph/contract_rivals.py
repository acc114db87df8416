"""What every Graph promises when several write at once: names belong to one, and nothing is lost.

Runs unchanged on a server, like `contract`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import pytest

from dagmanager.engine.model.graph_port import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.model.rows import Binding, QueueState, TagSetKey, TagSetRow, fold
from dagmanager.engine.model.version_rows import LineageKey, LineageRow
from dagmanager.errors import ConstraintError
from tests.graph.answers import answers
from tests.graph.builders import (
    event,
    known_bindings,
    node,
    put,
    queue,
    remove,
    store,
)

T = TypeVar("T")


RIVALS = 6


ROUNDS = 8


def concurrently(count: int, work: Callable[[int], T]) -> list[T]:
    """`work(0) … work(count - 1)` in threads that start together."""
    barrier = threading.Barrier(count)

    def started(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))


class ConstraintContract:
    def test_a_topic_belongs_to_one_binding(self, graph: Graph, rival: Graph) -> None:
        store(graph, queue("b", "n1", claim_id="k1"))
        with pytest.raises(ConstraintError):
            store(rival, queue("b", "n2"))
        assert graph.transact(lambda tx: tx.queues_by_topic(["b"]))["b"].claim_id == "k1"

    @pytest.mark.parametrize("taken", ["b.x", "b_x", "B.x", "b.X"])
    def test_work_runs_again_when_a_topic_is_taken(self, graph: Graph, taken: str) -> None:
        store(graph, queue("b.x", "n1"))
        tried: list[str] = []

        def work(tx: Transaction) -> str:
            topic = "free" if tried else taken
            tried.append(topic)
            put(tx, [node("n2"), queue(topic, "n2")])
            return topic

        assert graph.transact(work) == "free"
        assert tried == [taken, "free"]
        assert graph.transact(lambda tx: tx.queues_by_topic(["b.x"]))["b.x"].binding.node_id == "n1"
        assert graph.transact(lambda tx: tx.queues_by_topic(["free"])).keys() == {"free"}

    @pytest.mark.parametrize("taken", ["one", "ONE"])
    def test_work_runs_again_when_a_base_name_is_taken(self, graph: Graph, taken: str) -> None:
        store(graph, node("n1", base_name="one"))
        tried: list[str] = []

        def work(tx: Transaction) -> None:
            tried.append("other" if tried else taken)
            put(tx, [node("n2", base_name=tried[-1])])

        graph.transact(work)
        assert tried == [taken, "other"]
        found = graph.transact(lambda tx: tx.nodes(["n1", "n2"]))
        assert {row.node_id: row.base_name for row in found.values()} == {"n1": "one", "n2": "other"}

    def test_a_name_that_stays_taken_ends_with_the_error_and_nothing_kept(self, graph: Graph) -> None:
        store(graph, queue("b.x", "n1"))
        before = answers(graph)
        runs: list[int] = []

        def work(tx: Transaction) -> None:
            runs.append(1)
            put(tx, [node("n2"), queue("B_X", "n2")])

        with pytest.raises(ConstraintError) as caught:
            graph.transact(work)
        assert caught.value.key == fold("b.x")
        assert 1 < len(runs) < 50
        assert answers(graph) == before

    def test_a_conflict_cannot_be_swallowed(self, graph: Graph) -> None:
        """A server has ended the transaction by then; going on would lose what was written before."""
        store(graph, queue("b", "n1"))
        runs: list[int] = []

        def taken(tx: Transaction) -> None:
            put(tx, [queue("B", "n2")])
            tx.nodes(["n2"])  # raises at the latest here

        def work(tx: Transaction) -> None:
            runs.append(1)
            put(tx, [node("n2")])
            if len(runs) == 1:
                with pytest.raises(ConstraintError):
                    taken(tx)

        graph.transact(work)
        assert len(runs) == 2

    def test_a_row_may_be_replaced_under_its_own_name(self, graph: Graph) -> None:
        store(graph, queue("b", "n1"), node("n1", base_name="one"))
        store(graph, queue("b", "n1", state=QueueState.DROPPED), node("n1", base_name="one", tags=("t1",)))
        assert graph.transact(lambda tx: tx.nodes(["n1"]))["n1"].tags == ("t1",)

    @pytest.mark.parametrize("state", QueueState)
    def test_no_topic_name_is_ever_free_again(self, graph: Graph, state: QueueState) -> None:
        store(graph, queue("b.x", "n1"))
        store(graph, queue("b.x", "n1", state=state), queue("b_v2", "n1", incarnation=2))
        assert graph.transact(lambda tx: tx.taken(["b_x", "b_v2", "c"])).topics == {"b_x", "b_v2"}
        with pytest.raises(ConstraintError):
            store(graph, queue("b_x", "n2"))

    def test_a_deleted_nodes_base_name_is_free(self, graph: Graph) -> None:
        store(graph, node("n1", base_name="one"))
        remove(graph, node("n1", base_name="one"))
        store(graph, node("n2", base_name="One"))
        assert graph.transact(lambda tx: tx.taken((), ["one", "two"])).base_names == {"one"}

    def test_a_name_may_pass_from_one_node_to_another(self, graph: Graph, rival: Graph) -> None:
        store(graph, node("n1", base_name="one"), node("n2", base_name="two"))
        answers(rival)

        def swap(tx: Transaction) -> None:
            put(tx, [node("n1", base_name="three")])
            put(tx, [node("n2", base_name="one"), node("n1", base_name="two")])

        graph.transact(swap)
        assert answers(rival) == answers(graph)
        with pytest.raises(ConstraintError):
            store(rival, node("n3", base_name="one"))


class RivalsContract:
    def test_one_wins_a_binding_and_the_others_get_its_row(self, graph: Graph, rival: Graph) -> None:
        binding = Binding("n1", "")

        def claim(number: int) -> tuple[str, bool]:
            def work(tx: Transaction) -> tuple[str, bool]:
                tx.lock(Locks(nodes=("n1",)))
                found = known_bindings(tx, binding).queues.get(binding)
                if found is not None:
                    return found.claim_id, False
                tx.put([node("n1"), queue(f"topic-{number}", "n1", claim_id=str(number))])
                return str(number), True

            return (graph, rival)[number % 2].transact(work)

        outcomes = concurrently(RIVALS, claim)
        winners = [claim_id for claim_id, won in outcomes if won]
        assert len(winners) == 1
        assert {claim_id for claim_id, _ in outcomes} == set(winners)
        assert known_bindings(rival, binding).queues[binding].topic == f"topic-{winners[0]}"

    def test_rivals_for_a_topic_name_all_get_one_and_no_two_the_same(
        self, graph: Graph, rival: Graph
    ) -> None:
        """As the claim does it: read, choose, and let the constraint decide."""

        def choose(number: int) -> str:
            def work(tx: Transaction) -> str:
                n = 1
                while tx.taken([fold(f"B.x_v{n}")]).topics:
                    n += 1
                topic = f"B.x_v{n}" if number % 3 else f"b_x_v{n}"
                tx.lock(Locks(nodes=(f"n{number}",), names=(fold(topic),)))
                if tx.taken([fold(topic)]).topics:
                    raise ConstraintError(fold(topic))
                tx.put([queue(topic, f"n{number}")])
                return topic

            return (graph, rival)[number % 2].transact(work)

        assert sorted(fold(topic) for topic in concurrently(RIVALS, choose)) == [
            f"b_x_v{n}" for n in range(1, RIVALS + 1)
        ]

    def test_rivals_for_a_base_name_all_get_one_and_no_two_the_same(self, graph: Graph, rival: Graph) -> None:
        def choose(number: int) -> str:
            def work(tx: Transaction) -> str:
                n = 1
                while tx.taken((), [f"one_{n}"]).base_names:
                    n += 1
                put(tx, [node(f"n{number}", base_name=f"one_{n}")])
                return f"one_{n}"

            return (graph, rival)[number % 2].transact(work)

        assert sorted(concurrently(RIVALS, choose)) == [f"one_{n}" for n in range(1, RIVALS + 1)]

    def test_no_write_to_a_lineage_is_lost(self, graph: Graph, rival: Graph) -> None:
        key = LineageKey("l1", "")

        def work(tx: Transaction) -> None:
            tx.lock(Locks(lineages=(key,)))
            found = tx.known(LookupKeys(lineages=frozenset({key}))).lineages.get(key)
            tx.put([LineageRow(key, found.last_at_ms + 1 if found else 1)])

        concurrently(RIVALS, lambda n: [(graph, rival)[n % 2].transact(work) for _ in range(ROUNDS)])
        known = graph.known(LookupKeys(lineages=frozenset({key})))
        assert known.lineages[key].last_at_ms == RIVALS * ROUNDS

    def test_every_revision_of_a_tag_set_is_used_once(self, graph: Graph, rival: Graph) -> None:
        key = TagSetKey(("t1",), 60)

        def work(tx: Transaction) -> int:
            tx.lock(Locks(tag_sets=(key,)))
            revision = tx.tag_revisions([key])[key] + 1
            tx.put([TagSetRow(key, revision)])
            return revision

        got = concurrently(RIVALS, lambda n: [(graph, rival)[n % 2].transact(work) for _ in range(ROUNDS)])
        assert sorted(chain.from_iterable(got)) == list(range(1, RIVALS * ROUNDS + 1))

    def test_every_epoch_is_raised_once(self, graph: Graph, rival: Graph) -> None:
        def raised(number: int) -> list[int]:
            return [(graph, rival)[number % 2].transact(lambda tx: tx.raise_epoch()) for _ in range(ROUNDS)]

        got = concurrently(RIVALS, raised)
        assert sorted(chain.from_iterable(got)) == list(range(1, RIVALS * ROUNDS + 1))
        assert graph.epoch() == rival.epoch() == RIVALS * ROUNDS

    def test_concurrent_publishers_keep_the_order(self, graph: Graph, rival: Graph) -> None:
        store(graph, *(event("x", n, n) for n in range(1, 31)))
        sent: list[int] = []

        def publish(tx: Transaction) -> int:
            tx.lock(Locks(publisher=True))
            waiting = tx.waiting_events(3)
            sent.extend(row.revision for row in waiting)
            tx.delete(waiting)
            return len(waiting)

        def all_of_it(number: int) -> None:
            while (graph, rival)[number % 2].transact(publish):
                pass

        concurrently(RIVALS, all_of_it)
        assert sent == list(range(1, 31))
