from __future__ import annotations

import pytest

from dagmanager.engine.engine import Engine
from dagmanager.engine.journey import Answer, Planned, Refused
from dagmanager.errors import ErrorCode, Rejection, UnavailableError
from operators.patience import Patience
from operators.upsert import upsert
from tests.engine.builders import Stores, engine, node, told
from tests.flows.crashing import impatient
from tests.operators.passing import FEED, MEAN, REFUSED, fresh, passed, planned, stored, watched


def upserted(
    engine: Engine, given: list[Planned | Refused], batch: int = 100, patience: Patience | None = None
) -> list[Answer | Refused]:
    keyed = [(f"key{at}", each) for at, each in enumerate(given)]
    found = passed(lambda up: upsert("step", up, engine, patience or impatient()), keyed, batch)
    assert [key for key, _ in found] == [key for key, _ in keyed]
    return [item for _, item in found]


def plans(stores: Stores) -> list[Planned | Refused]:
    """Six strategies that share a node, all looked up before any of them is written."""
    asking = engine(stores)
    return [
        planned(asking, [FEED, node(name)], strategy=name, lineage=name, position=at)
        for at, name in enumerate("zyxabc")
    ]


def answers_of(found: list[Answer | Refused]) -> list[Answer]:
    return [each for each in found if isinstance(each, Answer)]


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_answers_come_in_order_and_later_items_see_earlier_ones(batch: int) -> None:
    stores = fresh()
    found = answers_of(upserted(engine(stores), plans(stores), batch))
    assert [each.submission.strategy_id for each in found] == list("zyxabc")
    assert [told(each).actions.create for each in found] == [2, 1, 1, 1, 1, 1]
    assert [told(each).actions.reuse for each in found] == [0, 1, 1, 1, 1, 1]
    assert len({told(each).items[0] for each in found}) == 1, "one queue for the shared node"
    assert {topic for each in found for topic in told(each).topics} == set(stores.topics.names())


def test_refused_passes_by_in_order_and_writes_nothing() -> None:
    stores = fresh()
    given = planned(engine(stores), [FEED])
    empty = stored(stores)
    assert upserted(engine(stores), [REFUSED, REFUSED]) == [REFUSED, REFUSED]
    assert stored(stores) == empty
    found = upserted(engine(stores), [REFUSED, given, REFUSED])
    assert [type(each) for each in found] == [Refused, Answer, Refused]


def test_a_plan_that_is_refused_is_an_answer() -> None:
    stores = fresh()
    given = planned(engine(stores), [FEED | {"schema_compat_id": "", "schema_id": ""}, MEAN])
    (answer,) = answers_of(upserted(engine(stores), [given]))
    assert answer.submission == given.submission


def test_what_was_answered_is_answered_again() -> None:
    stores = fresh()
    given = plans(stores)
    first = answers_of(upserted(engine(stores), given))
    before = stores.outcomes()
    again = answers_of(upserted(engine(stores, "another"), given))
    assert [each.result for each in again] == [each.result for each in first]
    assert all(each.replayed for each in again)
    assert stores.outcomes() == before


@pytest.mark.parametrize("away", [1, 3, 6])
def test_it_waits_while_a_store_is_away_and_goes_on(
    away: int, caplog: pytest.LogCaptureFixture
) -> None:
    alone, stores, pauses = fresh(), fresh(), list[float]()
    expected = answers_of(upserted(engine(alone), plans(alone)))
    given = plans(stores)
    writing, _ = watched(stores, away)
    found = answers_of(upserted(writing, given, 100, Patience(pauses.append, lambda: False)))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0][:away]
    assert "waiting for a store (gone for a while)" in caplog.text
    assert [each.result for each in found] == [each.result for each in expected]
    assert stores.topics.names() == alone.topics.names()


def test_who_is_stopping_does_not_wait() -> None:
    stores = fresh()
    given = plans(stores)
    with pytest.raises(UnavailableError):
        upserted(watched(stores, away=1)[0], given)
    assert not any(isinstance(each, Rejection) for each in stores.outcomes())
    assert [told(each).actions.create for each in answers_of(upserted(engine(stores), given))][0] == 2
