"""What a claim does to the versions of its lineage, and to the queues that they hold (docs/semantics.md 6, 7)."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.model.rows import QueueRow, QueueState
from dagmanager.engine.model.version_rows import HolderRow, SentinelRow, SentinelState
from dagmanager.errors import ErrorCode
from tests.engine.builders import (
    START_MS,
    Stores,
    accepted,
    engine,
    refused,
    submission,
    topics_of,
)
from tests.engine.market import (
    MEAN,
    OTHER,
    PRICE,
    SIGNAL,
    active,
    by_name,
    payloads,
    weight_events,
)


def test_an_older_record_never_undoes_a_newer_one() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    (older,) = works.submit([submission([MEAN, PRICE], strategy="s2", at_ms=START_MS - 1, position=1)])
    assert accepted(older).actions.create == 1
    assert [each.code for each in accepted(older).warnings] == ["older_than_current"]
    states = {row.key.revision: (row.state, row.weight) for row in stores.rows(SentinelRow)}
    assert states == {1: (SentinelState.ACTIVE, 1.0), 2: (SentinelState.PARKED, 0.0)}
    assert all(row.unreferenced_ms is None for row in stores.rows(QueueRow))


def test_an_older_record_of_the_content_in_force_adds_a_holder() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    (answer,) = works.submit([submission([PRICE], strategy="s2", at_ms=START_MS - 1, position=1)])
    assert accepted(answer).actions.reuse == 1
    assert not accepted(answer).warnings
    assert len(stores.rows(HolderRow)) == 2


def test_other_lineages_and_namespaces_have_their_own_order() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], at_ms=START_MS + 10)])
    for position, where in enumerate([{"lineage": "beta"}, {"world": "w1"}], start=1):
        (answer,) = works.submit(
            [submission([MEAN, PRICE], strategy=f"t{position}", position=position, **where)]
        )
        assert len(topics_of(answer)) == 2


def test_a_canary_shares_the_weight_and_promotion_ends_it() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], strategy="s2", version="v2", weight=0.1, position=1)])
    assert active(stores) == pytest.approx({"v1": 0.9, "v2": 0.1})
    works.submit([submission([PRICE, MEAN], strategy="s2", version="v2", weight=1.0, position=2)])
    assert active(stores) == {"v2": 1.0}
    assert sorted(weight_events(stores)) == sorted(
        [("v1", 1.0), ("v1", 0.9), ("v2", 0.1), ("v1", 0.0), ("v2", 1.0)]
    )


def test_one_strategy_id_announces_every_weight_of_all_its_versions() -> None:
    """Versions of one strategy id share a stream: none of their events may outdate another's."""
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], position=1)])
    works.submit([submission([PRICE, OTHER], version="v2", position=2)])
    assert sorted(weight_events(stores)) == [("v1", 0.0)] * 2 + [("v1", 1.0)] * 2 + [("v2", 1.0)]
    etags = [each["etag"] for each in payloads(stores) if "weight" in each]
    assert len(set(etags)) == len(etags)


@pytest.mark.parametrize("second", ["v1", "v2"])
def test_the_last_weight_of_a_client_visible_id_is_that_of_the_version_in_force(second: str) -> None:
    """Versions of one strategy id share what clients see: a client that keeps the newest event must not turn it off."""
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version=second, position=1)])
    assert weight_events(stores)[-2:] == [("v1", 0.0), (second, 1.0)]
    works.submit([submission([PRICE], position=2, weight=1.0)])
    assert weight_events(stores)[-2:] == [(second, 0.0), ("v1", 1.0)]
    revisions = [each["revision"] for each in payloads(stores) if "weight" in each]
    assert revisions == sorted(revisions)


def test_one_strategy_id_in_two_worlds_announces_no_weight_twice() -> None:
    """A Gateway drops what has the etag of the last event that it received, and an etag names no world."""
    stores = Stores()
    works = engine(stores)
    for position, world in enumerate(("w1", "w2")):
        works.submit([submission([PRICE], world=world, position=position)])
    etags = [each["etag"] for each in payloads(stores) if "weight" in each]
    assert [etag.rpartition(":")[2] for etag in etags] == ["1", "2"]


def test_a_third_version_is_refused_and_changes_nothing() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.1, position=1)])
    rows = stores.effects()
    (third,) = works.submit([submission([OTHER], version="v3", weight=0.1, position=2)])
    assert refused(third).code is ErrorCode.TOO_MANY_VERSIONS
    assert stores.effects() == rows


def test_a_replay_gets_the_same_refusal_although_its_reason_is_gone() -> None:
    """The answer was given and its dead letter lies there: a replay must not put the version in force after all."""
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.5, position=1)])
    third = submission([OTHER], version="v3", weight=0.5, strategy="s3", position=2)
    (first,) = works.submit([third])
    works.submit([submission([PRICE, MEAN], version="v2", weight=1.0, position=3)])
    in_force, topics = active(stores), set(stores.queues())
    (again,) = works.submit([third])
    assert refused(again) == refused(first)
    assert refused(again).code is ErrorCode.TOO_MANY_VERSIONS
    assert (active(stores), set(stores.queues())) == (in_force, topics)
    (repeated,) = works.submit([submission([OTHER], version="v3", weight=0.5, strategy="s3", position=4)])
    assert accepted(repeated).actions.create == 1, "sent again it is another submission"


def test_the_next_revision_supersedes_the_previous_one() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], position=1)])
    states = {row.key.revision: (row.state, row.weight) for row in stores.rows(SentinelRow)}
    assert states == {1: ("superseded", 0.0), 2: ("active", 1.0)}


def test_a_content_that_was_in_force_comes_back_as_itself() -> None:
    stores = Stores()
    works = engine(stores)
    for position, nodes in enumerate([[PRICE], [PRICE, MEAN], [PRICE]]):
        works.submit([submission(nodes, position=position, at_ms=START_MS + position)])
    states = {row.key.revision: (row.state, row.weight) for row in stores.rows(SentinelRow)}
    assert states == {1: ("active", 1.0), 2: ("superseded", 0.0)}


def test_a_queue_that_leaves_the_last_content_is_unreferenced_until_it_is_referenced_again() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    stores.clock.now_ms += 50
    works.submit([submission([PRICE, SIGNAL | {}], position=1)])
    queues = by_name(stores)
    # SIGNAL depends on MEAN, which is not in the DAG any more: an outside dependency still holds it.
    assert {name: row.unreferenced_ms for name, row in queues.items()} == {
        "price": None,
        "mean": None,
        "signal": None,
    }
    works.submit([submission([PRICE], position=2)])
    queues = by_name(stores)
    assert queues["price"].unreferenced_ms is None
    assert queues["mean"].unreferenced_ms == queues["signal"].unreferenced_ms == stores.clock.now_ms
    works.submit([submission([PRICE, SIGNAL], position=3)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}


def test_a_content_of_another_lineage_keeps_its_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    works.submit([submission([MEAN, PRICE], lineage="beta", strategy="s2", position=1)])
    works.submit([submission([PRICE], position=2)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}


def test_a_parked_version_keeps_its_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([OTHER], version="v2", weight=0.0, position=1)])
    assert {row.unreferenced_ms for row in by_name(stores).values()} == {None}
    assert active(stores) == {"v1": 1.0}


def test_a_tombstone_is_never_marked() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    gone = msgspec.structs.replace(by_name(stores)["mean"], state=QueueState.CONDEMNED, unreferenced_ms=3)
    stores.put(gone)
    works.submit([submission([PRICE, MEAN, OTHER], position=1)])
    assert stores.queues()[gone.topic] == gone
