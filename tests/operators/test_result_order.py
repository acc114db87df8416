from __future__ import annotations

from dataclasses import dataclass

from operators.result_order import BYTES_MAX, ITEMS_MAX, ResultOrder


@dataclass(eq=False)
class Waiting:
    name: str
    keys: tuple[str, ...]
    is_done: bool = False
    size: int = 1


def arrived(*given: tuple[str, tuple[str, ...], str]) -> tuple[ResultOrder[Waiting], dict[str, Waiting]]:
    order, items = ResultOrder[Waiting](), {name: Waiting(name, keys) for name, keys, _ in given}
    for name, _, shard in given:
        order.arrive(items[name], shard)
    return order, items


def taken(order: ResultOrder[Waiting], shard: str) -> list[str]:
    return [each.name for each in order.take_ready(shard)]


def test_results_with_a_key_in_common_leave_in_order_of_arrival() -> None:
    order, items = arrived(
        ("a", ("s1", "l1"), "x"), ("b", ("s2", "l1"), "x"), ("c", ("s2", "l2"), "x"), ("d", ("s3", "l3"), "x")
    )
    for name in "cbd":
        items[name].is_done = True
    assert taken(order, "x") == ["d"]
    assert not order.is_free(["s1", "l3"])
    assert order.is_free(["s3", "l3"])
    items["a"].is_done = True
    assert taken(order, "x") == ["a", "b", "c"]
    assert order.is_free(["s1", "s2", "l1", "l2"])


def test_a_result_that_waited_for_another_shard_leaves_with_the_next_call_of_its_own() -> None:
    order, items = arrived(("a", ("s1", "l1"), "x"), ("b", ("s2", "l1"), "y"))
    items["b"].is_done = True
    assert taken(order, "y") == []
    items["a"].is_done = True
    assert taken(order, "y") == []
    assert taken(order, "x") == ["a"]
    assert taken(order, "y") == ["b"]


def test_nothing_is_kept_of_what_has_left() -> None:
    order, items = arrived(("a", ("s1", "l1"), "x"), ("b", ("s1", "l2"), "x"))
    order.leave(items["b"])  # at the end of the input, before its turn
    order.leave(items["a"])
    assert order.is_free(["s1", "l1", "l2"])
    assert not any([order._queues, order._shards, order._behind, order._first, order._bytes])


def test_what_has_arrived_and_not_left_is_counted_done_or_not() -> None:
    order = ResultOrder[Waiting]()
    items = [Waiting(str(at), ("s",), is_done=at > 0) for at in range(ITEMS_MAX)]
    for at, each in enumerate(items):
        assert order.has_room()
        order.arrive(each, at % 7)
    assert not order.has_room()
    order.leave(items[0])
    assert order.has_room()
    order.arrive(Waiting("large", ("t",), size=BYTES_MAX), 0)
    assert not order.has_room()
