from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from bytewax.errors import BytewaxRuntimeError

from dagmanager.dag.model import Record
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import Answer, CacheHit, Planned, Refused
from dagmanager.errors import ErrorCode, UnavailableError
from operators.result_order import ResultOrder
from operators.steps.upsert import upsert
from operators.store_retry import RetryPolicy
from tests.engine.builders import POLICY, Stores, accepted, engine, node, refused
from tests.operators.passing import (
    FEED,
    IMPATIENT,
    REFUSED,
    cause_of,
    finisher,
    fresh,
    guard,
    passed,
    patient,
    planned,
    stored,
    watched,
)


def upserted(
    engine: Engine,
    given: Sequence[Planned | CacheHit | Refused],
    batch: int = 100,
    retry: RetryPolicy = IMPATIENT,
) -> list[Answer | Refused]:
    keyed = [(f"key{at}", each) for at, each in enumerate(given)]
    found = passed(
        lambda up: upsert("step", up, engine, guard(retry), finisher(engine, retry), ResultOrder()),
        keyed,
        batch,
    )
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
    assert [accepted(each).actions.create for each in found] == [2, 1, 1, 1, 1, 1]
    assert [accepted(each).actions.reuse for each in found] == [0, 1, 1, 1, 1, 1]
    assert len({accepted(each).items[0] for each in found}) == 1, "one queue for the shared node"
    assert {topic for each in found for topic in accepted(each).topics} == set(stores.topics.names())


def test_refused_passes_by_in_order_and_writes_nothing() -> None:
    stores = fresh()
    given = planned(engine(stores), [FEED], position=1)
    assert given.submission.record is not None
    first, last = (
        msgspec.structs.replace(
            REFUSED,
            record=Record(b"{", msgspec.structs.replace(given.submission.record.origin, position=at), b"bad"),
        )
        for at in (0, 2)
    )
    empty = stored(stores)
    assert upserted(engine(stores), [REFUSED, REFUSED]) == [REFUSED, REFUSED]
    assert stored(stores) == empty
    found = upserted(engine(stores), [first, given, last])
    assert [type(each) for each in found] == [Refused, Answer, Refused]


def test_a_submission_that_the_plan_refuses_is_answered_in_its_place() -> None:
    stores = fresh()
    strict = engine(stores, policy=msgspec.structs.replace(POLICY, strict_dependencies=True))
    lost = node("lost", inputs=["blake3:none"])
    given: list[Planned | CacheHit | Refused] = [
        planned(strict, nodes, position=at) for at, nodes in enumerate(([lost], [FEED], [lost]))
    ]
    found = answers_of(upserted(strict, given))
    assert [each.submission.record.origin.position for each in found] == [0, 1, 2]
    assert refused(found[0]).code == refused(found[2]).code == ErrorCode.UNRESOLVED_DEPENDENCIES
    assert accepted(found[1]).actions.create == 1


def test_what_was_answered_is_answered_again() -> None:
    stores = fresh()
    given = plans(stores)
    first = answers_of(upserted(engine(stores), given))
    before = stores.outcomes()
    again = answers_of(upserted(engine(stores, "another"), given))
    assert [each.result for each in again] == [each.result for each in first]
    assert all(each.replayed for each in again)
    assert stores.outcomes() == before


@pytest.mark.parametrize("away", [1, 6])
@pytest.mark.parametrize("after", range(12))
def test_it_waits_while_a_store_is_unreachable_and_continues(
    away: int, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    alone, stores, pauses = fresh(), fresh(), list[float]()
    expected = answers_of(upserted(engine(alone), plans(alone)))
    writing, _ = watched(stores, away, after)
    found = answers_of(upserted(writing, plans(stores), 100, patient(pauses.append)))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0][:away]
    assert "waiting for a store (gone for a while)" in caplog.text
    assert [each.result for each in found] == [each.result for each in expected]
    assert stored(stores)[1] == stored(alone)[1]
    assert stores.outcomes() == alone.outcomes()


def test_a_dry_run_sees_what_came_earlier_in_the_batch_and_writes_nothing() -> None:
    stores = fresh()
    asking = engine(stores)
    given: list[Planned | Refused] = [
        planned(asking, [FEED], strategy="a"),
        planned(asking, [FEED, node("new")], strategy="dryrun", lineage="b", position=1),
    ]
    (first, dry) = answers_of(upserted(asking, given))
    assert accepted(dry).dry_run
    assert (accepted(dry).actions.reuse, accepted(dry).actions.create) == (1, 1)
    assert set(stores.topics.names()) == set(accepted(first).topics)


def test_a_step_that_is_stopping_does_not_wait() -> None:
    stores = fresh()
    given = plans(stores)
    before = stored(stores)
    with pytest.raises(BytewaxRuntimeError) as raised:
        upserted(watched(stores, away=1)[0], given)
    assert isinstance(cause_of(raised.value), UnavailableError)
    assert stored(stores) == before
