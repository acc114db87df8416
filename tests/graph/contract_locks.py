"""What every Graph promises of locks: their order, and what is written under them only.

Runs unchanged on a server, like `contract`.
"""

from __future__ import annotations

import pytest

from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import LineageKey
from tests.graph.builders import (
    lineage_row,
    node,
    queue,
    sentinel,
)

IN_ORDER = (
    Locks(lineages=(LineageKey("a", ""), LineageKey("b", ""))),
    Locks(nodes=("n1", "n2")),
    Locks(names=("a", "b")),
    Locks(counters=("a", "b")),
    Locks(tags=(("t1", 60), ("t2", 60))),
    Locks(tag_sets=(TagSetKey(("t1",), 60), TagSetKey(("t2",), 60))),
    Locks(epoch=True),
    Locks(publisher=True),
)


def lock_all(tx: Transaction, *calls: Locks) -> None:
    for locks in calls:
        tx.lock(locks)


class LockOrderContract:
    """An order that would be a deadlock between rivals is an error in every single transaction."""

    def test_every_kind_in_order(self, graph: Graph) -> None:
        graph.transact(lambda tx: lock_all(tx, *IN_ORDER))

    def test_all_kinds_at_once(self, graph: Graph) -> None:
        everything = Locks(
            lineages=IN_ORDER[0].lineages,
            nodes=IN_ORDER[1].nodes,
            names=IN_ORDER[2].names,
            counters=IN_ORDER[3].counters,
            tags=IN_ORDER[4].tags,
            tag_sets=IN_ORDER[5].tag_sets,
            epoch=True,
            publisher=True,
        )
        graph.transact(lambda tx: tx.lock(everything))

    @pytest.mark.parametrize("later", range(1, len(IN_ORDER)))
    def test_an_earlier_kind_after_a_later_one(self, graph: Graph, later: int) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(IN_ORDER[later])
            tx.lock(IN_ORDER[later - 1])

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)

    def test_a_smaller_key_of_the_same_kind(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(Locks(names=("b",)))
            tx.lock(Locks(names=("c",)))
            tx.lock(Locks(names=("a",)))

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)

    def test_keys_of_one_call_are_sorted(self, graph: Graph) -> None:
        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(lambda tx: tx.lock(Locks(names=("b", "a"))))

    def test_a_held_lock_may_be_taken_again(self, graph: Graph) -> None:
        graph.transact(lambda tx: lock_all(tx, *IN_ORDER, *IN_ORDER, Locks()))

    def test_raising_the_epoch_locks_it(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            tx.raise_epoch()
            tx.lock(Locks(tag_sets=(TagSetKey(("t1",), 60),)))

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)
        assert graph.epoch() == 0

    def test_locks_end_with_the_transaction(self, graph: Graph, rival: Graph) -> None:
        for each in (graph, rival, graph):
            each.transact(lambda tx: lock_all(tx, *IN_ORDER))

    @pytest.mark.parametrize(
        "row",
        [
            lineage_row("l1"),
            sentinel("c1", "l1"),
            node("n1"),
            queue("a", "n1"),
            TagSetRow(TagSetKey(("t1",), 60), 1),
            CounterRow("c", 1),
        ],
        ids=["lineage", "sentinel", "node", "queue", "tag_set", "counter"],
    )
    @pytest.mark.parametrize("how", ["put", "delete"])
    def test_what_rivals_decide_from_is_written_under_its_lock(
        self, graph: Graph, row: Row, how: str
    ) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(
                Locks(
                    lineages=(LineageKey("l1", "w"), LineageKey("l2", "")),
                    nodes=("n2",),
                    counters=("other",),
                    tag_sets=(TagSetKey(("t1",), 5),),
                )
            )
            getattr(tx, how)([row])

        with pytest.raises(AssertionError, match="without the lock"):
            graph.transact(work)
