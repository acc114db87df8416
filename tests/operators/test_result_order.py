from __future__ import annotations

from operators.result_order import ResultOrder


def test_what_shares_a_key_leaves_in_the_order_of_arrival() -> None:
    order, keys = ResultOrder(), {"a": ("s1", "l1"), "b": ("s2", "l1"), "c": ("s2", "l2"), "d": ("s3", "l3")}
    for item, each in keys.items():
        order.arrive(item, each)
    assert [order.is_first(item, each) for item, each in keys.items()] == [True, False, False, True]
    order.leave("a", keys["a"])
    assert order.is_first("b", keys["b"])
    assert not order.is_first("c", keys["c"])
    assert order.is_free(["s1"])
    assert not order.is_free(["s1", "l1"])


def test_nothing_is_kept_of_what_has_left() -> None:
    order = ResultOrder()
    for item, keys in (("a", ("s1", "l1")), ("b", ("s1", "l2"))):
        order.arrive(item, keys)
    order.leave("b", ("s1", "l2"))  # at the end of the input, before its turn
    order.leave("a", ("s1", "l1"))
    assert order.is_free(["s1", "l1", "l2"])
