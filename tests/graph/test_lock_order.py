"""What `LockOrder` records and returns. That each store enforces it is tested in `contract_locks`."""

from __future__ import annotations

import pytest

from dagmanager.engine.model.graph_port import Locks
from dagmanager.engine.model.rows import CounterRow, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import LineageKey
from dagmanager.graph.lock_order import LockOrder, lock_of
from tests.graph.builders import content, event, holder, lineage_row, node, outcome, queue, sentinel


def held(locks: Locks) -> LockOrder:
    order = LockOrder()
    order.lock(locks)
    return order


def test_only_locks_that_were_not_held_yet_are_returned() -> None:
    order = LockOrder()
    first = Locks(nodes=("a", "b"), epoch=True)
    assert order.lock(first) == first
    assert order.lock(first) == Locks()
    assert order.lock(Locks(nodes=("a",), publisher=True)) == Locks(publisher=True)


def test_a_smaller_key_may_be_asked_for_again_while_it_is_held() -> None:
    order = held(Locks(nodes=("a", "b")))
    assert order.lock(Locks(nodes=("a", "c"))) == Locks(nodes=("c",))


def test_an_error_names_both_locks() -> None:
    order = held(Locks(counters=("c",)))
    with pytest.raises(AssertionError, match=r"nodes 'n' is locked after counters 'c'"):
        order.lock(Locks(nodes=("n",)))


@pytest.mark.parametrize(
    ("row", "locks"),
    [
        (lineage_row("l1", "w"), Locks(lineages=(LineageKey("l1", "w"),))),
        (sentinel("c1", "l1", "w"), Locks(lineages=(LineageKey("l1", "w"),))),
        (node("n1"), Locks(nodes=("n1",))),
        (queue("t", "n1"), Locks(nodes=("n1",))),
        (TagSetRow(TagSetKey(("t",), 60), 1), Locks(tag_sets=(TagSetKey(("t",), 60),))),
        (CounterRow("c", 1), Locks(counters=("c",))),
        (CounterRow("c", 1), Locks(epoch=True)),
        (CounterRow("c", 1), Locks(publisher=True)),
    ],
)
def test_a_row_may_be_written_under_its_lock_alone(row: Row, locks: Locks) -> None:
    held(locks).must_hold(row)
    with pytest.raises(AssertionError, match="without the lock"):
        LockOrder().must_hold(row)


@pytest.mark.parametrize(
    "row",
    [content("c1", "n1"), holder("s1", sentinel("c1").key), outcome("c"), event("s", 1, 0)],
    ids=lambda row: type(row).__name__,
)
def test_rows_of_one_submission_need_no_lock(row: Row) -> None:
    assert lock_of(row) is None
    LockOrder().must_hold(row)


def test_a_decision_about_nodes_needs_the_lock_of_each() -> None:
    order = held(Locks(nodes=("a", "b")))
    order.must_hold_nodes(["b", "a"])
    with pytest.raises(AssertionError, match=r"references 'c' without its lock"):
        order.must_hold_nodes(["a", "c"])


def test_the_lock_of_the_epoch_comes_after_all_but_the_publisher() -> None:
    order = LockOrder()
    order.lock_epoch()
    order.lock(Locks(publisher=True))
    with pytest.raises(AssertionError, match="lock order"):
        held(Locks(publisher=True)).lock_epoch()
