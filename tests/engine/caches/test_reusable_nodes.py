from __future__ import annotations

import pytest

from dagmanager.engine.caches.reusable_nodes import ReusableNodes, with_cached
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.rows import Binding, NodeRow, QueueRow, QueueState
from tests.engine.builders import START_MS
from tests.graph.builders import node, queue

HERE = Binding("n1", "")


def known(*rows: NodeRow | QueueRow) -> Known:
    nodes = {row.node_id: row for row in rows if isinstance(row, NodeRow)}
    queues = {row.binding: row for row in rows if isinstance(row, QueueRow)}
    return Known(nodes, queues, {}, {}, {}, {}, {}, 0, 0, START_MS)


def test_what_was_read_serves_the_same_epoch() -> None:
    kept = ReusableNodes()
    kept.keep(known(node("n1"), queue("a", "n1")), epoch=3)
    assert kept.of([HERE, Binding("n2", "")], 3) == {HERE: (node("n1"), queue("a", "n1"))}
    assert kept.of([HERE], 2) == kept.of([HERE], 4) == {}


def test_a_later_epoch_forgets_and_an_older_one_is_too_late() -> None:
    kept = ReusableNodes()
    kept.keep(known(node("n1"), queue("a", "n1")), epoch=3)
    kept.keep(known(node("n2"), queue("b", "n2")), epoch=4)
    kept.keep(known(node("n1"), queue("a", "n1")), epoch=3)
    assert list(kept.of([HERE, Binding("n2", "")], 4)) == [Binding("n2", "")]


@pytest.mark.parametrize(
    "rows",
    [
        (node("n1"), queue("a", "n1", state=QueueState.PROVISIONING)),
        (node("n1"), queue("a", "n1", state=QueueState.CONDEMNED)),
        (node("n1"), queue("a", "n1", unreferenced_ms=1)),
        (node("n1", safe_only=True), queue("a", "n1")),
        (node("n1", buffering_since_ms=1), queue("a", "n1")),
        (node("n1"),),
    ],
    ids=["provisioning", "condemned", "unreferenced", "safe only", "buffering", "no queue"],
)
def test_what_may_change_by_itself_is_not_kept(rows: tuple[NodeRow | QueueRow, ...]) -> None:
    kept = ReusableNodes()
    kept.keep(known(*rows), epoch=0)
    assert kept.of([HERE], 0) == {}


def test_safe_copies_are_not_kept() -> None:
    kept = ReusableNodes()
    kept.keep(known(node("n1"), queue("a", "n1", safe="s")), epoch=0)
    assert kept.of([Binding("n1", "", "s")], 0) == {}


def test_the_oldest_goes_first() -> None:
    kept = ReusableNodes(nodes_max=2)
    for name in ("n1", "n2", "n3"):
        kept.keep(known(node(name), queue(f"t{name}", name)), epoch=0)
    assert [each.node_id for each in kept.of([Binding(f"n{number}", "") for number in (1, 2, 3)], 0)] == [
        "n2",
        "n3",
    ]


def test_what_was_read_just_now_wins_over_what_was_kept() -> None:
    read = known(node("n1", tags=("new",)), queue("a", "n1"))
    joined = with_cached(
        read, {HERE: (node("n1"), queue("a", "n1")), Binding("n2", ""): (node("n2"), queue("b", "n2"))}
    )
    assert joined.nodes == {"n1": node("n1", tags=("new",)), "n2": node("n2")}
    assert set(joined.queues) == {HERE, Binding("n2", "")}
