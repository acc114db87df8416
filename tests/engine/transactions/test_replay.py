"""Replays and resends are answered from what was decided before (docs/semantics.md 2)."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.model.rows import (
    QueueRow,
    QueueState,
)
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
    PRICE,
    SIGNAL,
    active,
)


def test_an_identical_resend_changes_nothing() -> None:
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([submission([PRICE, MEAN])])
    rows, events, log = stores.all_rows(), list(stores.events.published), list(stores.log.entries)
    (again,) = works.submit([submission([PRICE, MEAN], position=7, at_ms=START_MS + 5)])
    assert topics_of(again) == topics_of(first)
    assert not again.replayed
    assert (stores.all_rows(), stores.events.published, stores.log.entries) == (rows, events, log)


def test_a_resend_of_a_superseded_version_changes_nothing_either() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], strategy="s2", position=1, at_ms=START_MS + 1)])
    rows = stores.all_rows()
    (again,) = works.submit([submission([PRICE], position=2, at_ms=START_MS + 2)])
    assert accepted(again).actions.reuse == 1
    assert stores.all_rows() == rows


def test_a_replay_is_answered_from_what_was_stored() -> None:
    stores = Stores()
    one = submission([PRICE, MEAN])
    (first,) = engine(stores).submit([one])
    engine(stores).submit([submission([SIGNAL, PRICE, MEAN], position=1, at_ms=START_MS + 1)])
    rows = stores.all_rows()
    (again,) = engine(stores, "two").submit([one])
    assert again.replayed
    assert again.result == first.result
    assert stores.all_rows() == rows


def test_a_replay_whose_queues_are_gone_is_expired() -> None:
    stores = Stores()
    one = submission([PRICE])
    engine(stores).submit([one])
    (queue,) = stores.rows(QueueRow)
    stores.put(msgspec.structs.replace(queue, state=QueueState.CONDEMNED))
    (again,) = engine(stores).submit([one])
    assert refused(again).code is ErrorCode.EXPIRED
    assert refused(again).got == queue.topic


def test_the_replay_of_a_plain_answer_never_undoes_what_came_after() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    plain = submission([PRICE], strategy="s2", position=1)
    (first,) = works.submit([plain])
    works.submit([submission([PRICE, MEAN], strategy="s2", position=2)])  # in the same millisecond
    rows = stores.all_rows()
    (again,) = works.submit([plain])
    assert again.result == first.result
    assert stores.all_rows() == rows


def test_a_replay_gets_the_same_warning() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    lone = submission([PRICE], strategy="s2", weight=0.4, position=1)
    (first,) = works.submit([lone])
    assert [each.code for each in accepted(first).warnings] == ["only_version"]
    (again,) = works.submit([lone])
    assert again.result == first.result


def test_a_replayed_weight_is_not_set_again() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.5, position=1)])
    low = submission([PRICE, MEAN], version="v2", weight=0.2, position=2)
    works.submit([low])
    works.submit([submission([PRICE, MEAN], version="v2", weight=0.7, position=3)])
    assert active(stores) == pytest.approx({"v1": 0.3, "v2": 0.7})
    works.submit([low])
    assert active(stores) == pytest.approx({"v1": 0.3, "v2": 0.7})
