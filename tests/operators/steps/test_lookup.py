from __future__ import annotations

import pytest
from bytewax.errors import BytewaxRuntimeError

from dagmanager.dag.model import Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import CacheHit, LookedUp, Refused
from dagmanager.errors import UnavailableError
from operators.steps.lookup import lookup
from operators.store_retry import RetryPolicy
from tests.engine.builders import node, submission
from tests.operators.passing import (
    FEED,
    IMPATIENT,
    MEAN,
    REFUSED,
    cause_of,
    fresh,
    guard,
    passed,
    patient,
    stored,
    watched,
)

GIVEN = [
    submission([node(name), FEED], strategy=name, lineage=name, position=at)
    for at, name in enumerate("zyxabc")
]


def looked_up(
    engine: Engine, given: list[Submission | Refused], batch: int, retry: RetryPolicy = IMPATIENT
) -> list[LookedUp | CacheHit | Refused]:
    keyed = [(each.strategy_id, each) for each in given]
    found = passed(lambda up: lookup("step", up, engine, guard(retry)), keyed, batch)
    assert [key for key, _ in found] == [key for key, _ in keyed]
    return [item for _, item in found]


@pytest.mark.parametrize(("batch", "calls"), [(100, 1), (6, 1), (4, 2), (1, 6)])
def test_one_question_per_micro_batch(batch: int, calls: int) -> None:
    engine, graph = watched(fresh())
    found = looked_up(engine, [*GIVEN], batch)
    assert len(graph.asked) == calls
    assert [each.submission for each in found if isinstance(each, LookedUp)] == GIVEN


def test_the_question_holds_what_every_submission_needs() -> None:
    stores = fresh()
    engine, graph = watched(stores)
    engine.submit([submission([FEED, MEAN])])
    graph.asked.clear()
    found = looked_up(engine, [submission([FEED], strategy="a"), submission([MEAN, FEED], strategy="b")], 10)
    (keys,) = graph.asked
    assert {each.node_id for each in keys.bindings} == {FEED["node_id"], MEAN["node_id"]}
    for each in found:
        assert isinstance(each, LookedUp)
        assert {row.node_id for row in each.known.nodes.values()} == {FEED["node_id"], MEAN["node_id"]}
        assert each.generation == engine.generation


def test_refused_passes_by_in_order_and_asks_nothing() -> None:
    engine, graph = watched(fresh())
    first, last = GIVEN[0], GIVEN[-1]
    found = looked_up(engine, [REFUSED, first, REFUSED, last, REFUSED], 100)
    assert [found[0], found[2], found[4]] == [REFUSED] * 3
    assert [each.submission for each in found if isinstance(each, LookedUp)] == [first, last]
    assert len(graph.asked) == 1
    assert looked_up(engine, [REFUSED, REFUSED], 1) == [REFUSED, REFUSED]
    assert len(graph.asked) == 1


def test_it_waits_for_the_graph_and_continues() -> None:
    pauses: list[float] = []
    engine, graph = watched(fresh(), away=3)
    found = looked_up(engine, [*GIVEN], 100, patient(pauses.append))
    assert pauses == [0.25, 0.5, 1.0]
    assert len(graph.asked) == 1
    assert [each.submission for each in found if isinstance(each, LookedUp)] == GIVEN


def test_a_step_that_is_stopping_does_not_wait() -> None:
    engine, _ = watched(fresh(), away=1)
    with pytest.raises(BytewaxRuntimeError) as raised:
        looked_up(engine, [*GIVEN], 100)
    assert isinstance(cause_of(raised.value), UnavailableError)


def test_reading_writes_nothing() -> None:
    stores = fresh()
    before = stored(stores)
    looked_up(watched(stores)[0], [*GIVEN], 2)
    assert stored(stores) == before
