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
    return Known(nodes=nodes, queues=queues, epoch=0, now_ms=START_MS)


def test_cached_rows_are_found_at_the_same_epoch_only() -> None:
    cache = ReusableNodes()
    cache.put(known(node("n1"), queue("a", "n1")), epoch=3)
    assert cache.get([HERE, Binding("n2", "")], 3) == {HERE: (node("n1"), queue("a", "n1"))}
    assert cache.get([HERE], 2) == cache.get([HERE], 4) == {}


def test_rows_of_a_later_epoch_replace_the_cache_and_those_of_an_older_one_are_ignored() -> None:
    cache = ReusableNodes()
    cache.put(known(node("n1"), queue("a", "n1")), epoch=3)
    cache.put(known(node("n2"), queue("b", "n2")), epoch=4)
    cache.put(known(node("n1"), queue("a", "n1")), epoch=3)
    assert list(cache.get([HERE, Binding("n2", "")], 4)) == [Binding("n2", "")]


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
def test_rows_that_a_deadline_may_change_are_not_cached(rows: tuple[NodeRow | QueueRow, ...]) -> None:
    cache = ReusableNodes()
    cache.put(known(*rows), epoch=0)
    assert cache.get([HERE], 0) == {}


def test_safe_mode_copies_are_not_cached() -> None:
    cache = ReusableNodes()
    cache.put(known(node("n1"), queue("a", "n1", safe="s")), epoch=0)
    assert cache.get([Binding("n1", "", "s")], 0) == {}


def test_the_oldest_rows_are_dropped_first() -> None:
    cache = ReusableNodes(nodes_max=2)
    for name in ("n1", "n2", "n3"):
        cache.put(known(node(name), queue(f"t{name}", name)), epoch=0)
    assert [each.node_id for each in cache.get([Binding(f"n{number}", "") for number in (1, 2, 3)], 0)] == [
        "n2",
        "n3",
    ]


def test_a_row_that_was_read_wins_over_a_cached_one() -> None:
    read = known(node("n1", tags=("new",)), queue("a", "n1"))
    joined = with_cached(
        read, {HERE: (node("n1"), queue("a", "n1")), Binding("n2", ""): (node("n2"), queue("b", "n2"))}
    )
    assert joined.nodes == {"n1": node("n1", tags=("new",)), "n2": node("n2")}
    assert set(joined.queues) == {HERE, Binding("n2", "")}
