from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from operators.poison_quarantine import PoisonQuarantine
from operators.steps.remember import LastDigest, Remembered, digest_of, remember
from tests.flows.strategies import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def logic(state: dict[str, Any] | None = None) -> LastDigest:
    return LastDigest(state, timedelta(hours=1), lambda: NOW, digest_of)


def test_equal_bytes_of_a_strategy_are_marked_and_arrival_order_is_kept() -> None:
    given = [
        record(value, at, who)
        for at, (value, who) in enumerate([(b"1", "z"), (b"1", "a"), (b"1", "z"), (b"2", "z")])
    ]
    found: list[tuple[str, Remembered]] = []
    flow = Dataflow("test")
    source = op.input("input", flow, TestingSource([("any", each) for each in given], batch_size=10))
    op.output("output", remember("remember", source, PoisonQuarantine()), TestingSink(found))
    run_main(flow)
    assert [each.record for _, each in found] == given
    assert [key for key, _ in found] == ["z", "a", "z", "z"]
    assert [each.repeat for _, each in found] == [False, False, True, False]


def test_state_is_small_plain_and_expires() -> None:
    first = logic()
    first.on_item(record(b"1", 0, "s"))
    assert first.notify_at() == NOW + timedelta(hours=1)
    assert first.on_notify() == ([], LastDigest.DISCARD)
    state = first.snapshot()
    assert len(pickle.dumps(state)) < 200
    ((again,), _) = logic(state).on_item(record(b"1", 1, "s"))
    assert again.repeat
    ((fresh,), _) = logic(state | {"v": 0}).on_item(record(b"1", 1, "s"))
    assert not fresh.repeat


def test_a_record_that_nobody_may_look_into_neither_repeats_nor_is_remembered() -> None:
    quarantined = record(b"deadly", 1, "s")
    mine = LastDigest(
        None,
        timedelta(hours=1),
        lambda: NOW,
        lambda given: b"" if given is quarantined else digest_of(given),
    )
    given = [quarantined, record(b"1", 2, "s"), quarantined, record(b"1", 3, "s")]
    found = [remembered for each in given for remembered in mine.on_item(each)[0]]
    assert [each.repeat for each in found] == [False, False, False, True]
    assert mine.notify_at() == NOW + timedelta(hours=1)
