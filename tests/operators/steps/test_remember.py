from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from dagmanager.dag.model import Record
from operators.poison_quarantine import PoisonQuarantine
from operators.steps.remember import LastDigest, digest_of, remember
from tests.flows.strategies import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def logic(state: dict[str, Any] | None = None) -> LastDigest:
    return LastDigest(state, timedelta(hours=1), lambda: NOW, digest_of)


def test_records_are_keyed_by_strategy_in_arrival_order() -> None:
    given = [
        record(value, at, who)
        for at, (value, who) in enumerate([(b"1", "z"), (b"1", "a"), (b"1", "z"), (b"2", "z")])
    ]
    found: list[tuple[str, Record]] = []
    flow = Dataflow("test")
    source = op.input("input", flow, TestingSource([("any", each) for each in given], batch_size=10))
    op.output("output", remember("remember", source, PoisonQuarantine()), TestingSink(found))
    run_main(flow)
    assert [each for _, each in found] == given
    assert [key for key, _ in found] == ["z", "a", "z", "z"]


def test_state_is_small_plain_and_expires() -> None:
    first = logic()
    first.on_item(record(b"1", 0, "s"))
    assert first.notify_at() == NOW + timedelta(hours=1)
    assert first.on_notify() == ([], LastDigest.DISCARD)
    assert len(pickle.dumps(first.snapshot())) < 200
