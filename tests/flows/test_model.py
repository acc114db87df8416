"""Thousands of submissions through the flow equal one-by-one submissions to the engine."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from bytewax.testing import cluster_main, run_main

from dagmanager.dag.model import Record, Submission
from dagmanager.engine.wire.message import Message
from flows.submissions import build
from operators.steps.messages import dead_letter_of, diff_messages_of
from tests.engine.crashing import Fuse
from tests.flows.crashing import ListSource, World, impatient
from tests.flows.stores import answered, assert_equal, stores
from tests.flows.strategies import Market, pool, records

pytestmark = pytest.mark.slow

COUNT = 600


def through_the_flow(
    given: list[Record], workers: int = 1, batch: int = 256, slow_topics: bool = False
) -> World:
    world, fuse = World(), Fuse()
    assembled = world.assembled(fuse, slow_topics)
    source = ListSource({"0": given}, batch, fuse)
    flow = build(assembled, source, world.sinks(assembled, fuse), impatient())
    if workers == 1:
        run_main(flow, epoch_interval=timedelta(seconds=10))
    else:
        cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=10), worker_count_per_proc=workers)
    return world


def one_by_one(given: list[Record]) -> World:
    world = World()
    assembled = world.assembled(Fuse())
    reader = assembled.reader()
    for each in given:
        for item in reader.read(each):
            answer = assembled.engine.submit([item])[0] if isinstance(item, Submission) else item
            world.diffs += diff_messages_of(answer)
            world.letters += dead_letter_of(answer)
    return world


def wild(seed: int, count: int) -> list[Record]:
    dice = random.Random(seed)
    strategies = [f"s{number}" for number in range(12)]
    own = {each: pool(dice, 3, each) for each in strategies}
    market = Market(dice, pool(dice, 12, "n"), own)
    return records(market, strategies, count)


@pytest.fixture(scope="module")
def model() -> World:
    return one_by_one(wild(1, COUNT))


@pytest.mark.parametrize("batch", [64, COUNT])
def test_one_worker_answers_exactly_as_one_by_one(batch: int, model: World) -> None:
    flow = through_the_flow(wild(1, COUNT), batch=batch)
    assert flow.diffs == model.diffs
    assert flow.letters == model.letters
    assert_equal(stores(flow), stores(model))


@pytest.mark.parametrize("batch", [3, 64])
def test_with_slow_topics_each_strategy_is_answered_exactly_as_one_by_one(batch: int, model: World) -> None:
    flow = through_the_flow(wild(1, COUNT), batch=batch, slow_topics=True)
    assert by_strategy(flow.diffs) == by_strategy(model.diffs)
    assert by_strategy(flow.letters) == by_strategy(model.letters)
    assert_equal(stores(flow), stores(model))


def by_strategy(messages: list[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = defaultdict(list)
    for each in messages:
        found[each.key].append(each)
    return found


def test_batches_of_one_answer_as_one_by_one() -> None:
    flow, model = through_the_flow(wild(2, 200), batch=1), one_by_one(wild(2, 200))
    assert flow.diffs == model.diffs
    assert_equal(stores(flow), stores(model))


def test_the_model_meets_every_kind_of_answer(model: World) -> None:
    counts: Counter[str] = Counter()
    for message in model.diffs:
        counts.update(answered(message))
    assert {"create", "reuse", "buffer", "isolate", "rejected"} <= counts.keys(), counts


def test_two_workers_give_the_same_answers_in_another_order() -> None:
    dice = random.Random(5)
    strategies = [f"s{number}" for number in range(12)]
    own = {each: pool(dice, 6, each) for each in strategies}
    apart = [
        Market(dice, own[each], shared_lineages=False, domains=("live", "shadow")) for each in strategies
    ]
    given = [
        each
        for market, strategy in zip(apart, strategies, strict=True)
        for each in records(market, [strategy], 50)
    ]
    dice.shuffle(order := [each.key for each in given])
    waiting = {key: iter([each for each in given if each.key == key]) for key in set(order)}
    mixed = [next(waiting[key]) for key in order]
    flow, model = through_the_flow(mixed, workers=2), one_by_one(mixed)
    assert _multiset(flow.diffs) == _multiset(model.diffs)
    assert_equal(stores(flow), stores(model))


def _multiset(messages: list[Message]) -> Counter[bytes]:
    return Counter(each.value for each in messages)
