"""The counters that invalidate cached answers to resends (docs/semantics.md 2)."""

from __future__ import annotations

from collections import Counter

from dagmanager.engine.caches.holder_counters import (
    COUNTER_SHARDS,
    COUNTERS,
    count_holder_change,
    counter_of,
)
from dagmanager.engine.decide.submission_keys import holder_key
from dagmanager.engine.model.version_rows import HolderKey
from tests.engine.builders import Stores, engine, node, submission

PRICE, MEAN = node("price"), node("mean")


def changed(stores: Stores) -> dict[str, int]:
    """The counters that are not 0."""
    found = stores.graph.epoch_reading(COUNTERS).counters
    return {name: value for name, value in found.items() if value}


def test_the_counter_of_a_holder_is_the_same_in_every_process() -> None:
    assert len(set(COUNTERS)) == COUNTER_SHARDS == 16
    assert [counter_of(HolderKey(f"s{number}", "w.live", "w")) for number in range(4)] == [
        "moves:00",
        "moves:05",
        "moves:02",
        "moves:09",
    ]


def test_holders_are_spread_evenly_over_the_counters() -> None:
    counts = Counter(counter_of(HolderKey(f"s{number}", "w.live", "w")) for number in range(16_000))
    assert set(counts) == set(COUNTERS)
    assert max(counts.values()) < 1_300


def test_a_strategy_id_in_another_namespace_is_another_holder() -> None:
    assert len({counter_of(HolderKey("s1", f"w{number}.live", "w")) for number in range(100)}) > 10


def test_a_strategy_id_in_another_world_of_the_same_namespace_is_another_holder() -> None:
    assert len({counter_of(HolderKey("s1", "shared", f"w{number}")) for number in range(100)}) > 10


def test_each_change_adds_one_to_the_counter_of_its_holder() -> None:
    stores, key = Stores(), HolderKey("s1", "w.live", "w")
    for _ in range(3):
        stores.graph.transact(lambda tx: count_holder_change(tx, key))
    assert changed(stores) == {counter_of(key): 3}


def test_a_replaced_holder_is_counted_and_a_new_one_is_not() -> None:
    stores = Stores()
    works = engine(stores)
    one = submission([PRICE])
    works.submit([one, submission([PRICE], strategy="s2", position=1)])
    assert changed(stores) == {}
    works.submit([submission([PRICE, MEAN], position=2)])
    assert changed(stores) == {counter_of(holder_key(one)): 1}


def test_an_identical_resend_is_not_counted() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE], position=1)])
    assert changed(stores) == {}
