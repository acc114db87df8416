"""Back-pressure: behind a claim that does not end the flow stops reading, and continues when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Answer, Planned, Refused
from dagmanager.errors import UnavailableError
from operators.finisher import Finisher, PendingResult
from operators.result_order import BYTES_MAX, ITEMS_MAX, ResultOrder
from operators.sources.paused_input import PausedInput
from operators.steps.exchange import shard_of
from operators.steps.upsert import FinishLogic, upsert
from operators.store_retry import RetryPolicy
from tests.engine.builders import engine, node
from tests.operators.passing import REFUSED, cause_of, fresh, guard, planned
from tests.operators.steps.test_finish import Gate
from tests.waiting import TIMEOUT_S, until

BATCH = 20
PATIENT = RetryPolicy(lambda _: None, lambda: False)


class Run:
    """The upsert behind a paused input, in a thread; topics are created only while the gate is open."""

    def __init__(self, retry: RetryPolicy = PATIENT) -> None:
        stores = fresh()
        self.gate = Gate(stores)
        self.engine = engine(stores, topics=self.gate)
        self.retry = retry
        self.order = ResultOrder[PendingResult]()
        self.read = 0
        self.pauses = 0
        self.paused = threading.Event()  # the input was asked for more ten times, and had no room
        self.found: list[tuple[str, Answer | Refused]] = []
        self.failed: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def start(self, given: Sequence[Planned | Refused]) -> None:
        self.given = given
        self.thread.start()

    def end(self) -> list[Answer | Refused]:
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()
        return [item for _, item in self.found]

    def _run(self) -> None:
        flow = Dataflow("test")
        source = PausedInput(TestingSource(self._items(), BATCH), self._has_room, self.retry.stopping)
        guarded = guard(self.retry)
        finisher = Finisher(self.engine, Reader(ReadOptions()), guarded, background=True)
        items = op.input("input", flow, source)
        answered = upsert("upsert", items, self.engine, guarded, finisher, self.order)
        op.output("output", answered, TestingSink(self.found))
        try:
            run_main(flow)
        except BaseException as failed:  # noqa: BLE001 - the test looks at it
            self.failed = failed

    def _items(self) -> Iterator[tuple[str, Any]]:
        for each in self.given:
            self.read += 1
            strategy = each.strategy_id if isinstance(each, Refused) else each.submission.strategy_id
            yield shard_of(strategy), each

    def _has_room(self) -> bool:
        room = self.order.has_room()
        self.pauses += not room
        if self.pauses == 10:
            self.paused.set()
        return room


def behind(count: int, value: bytes = b"{") -> list[Planned | Refused]:
    """Refusals of the strategy `a`, which wait for its claim."""
    return [
        Refused(Record(value, Origin("submissions", "t1", 0, at), b"a"), "a", REFUSED.rejection, ("",))
        for at in range(2, count + 2)
    ]


def first(run: Run) -> Planned:
    return planned(run.engine, [node("slow")], strategy="a", lineage="a", position=1)


def positions(found: Sequence[Answer | Refused]) -> list[int]:
    records = [each.record if isinstance(each, Refused) else each.submission.record for each in found]
    return [each.origin.position for each in records]


@pytest.mark.parametrize("count", [ITEMS_MAX + 1, 3_000])
def test_behind_one_stuck_claim_the_flow_stops_reading_and_all_are_answered_in_order(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    inner = FinishLogic.snapshot

    def snapshot(logic: FinishLogic) -> dict[str, Any]:
        state = inner(logic)
        sizes.append(len(state["items"]))
        return state

    monkeypatch.setattr(FinishLogic, "snapshot", snapshot)
    run = Run()
    run.start([first(run), *behind(count)])
    assert run.paused.wait(TIMEOUT_S)
    assert not run.found
    assert run.read <= ITEMS_MAX + 2 * BATCH
    run.gate.open.set()
    assert positions(run.end()) == list(range(1, count + 2))
    assert run.failed is None
    assert max(sizes, default=0) <= ITEMS_MAX + 2 * BATCH
    assert run.order.has_room()


def test_bytes_are_bounded_too() -> None:
    run, value = Run(), bytes(BYTES_MAX // 100)
    run.start([first(run), *behind(300, value)])
    assert run.paused.wait(TIMEOUT_S)
    assert run.read <= 100 + 2 * BATCH
    run.gate.open.set()
    assert positions(run.end()) == list(range(1, 302))


def test_claims_of_many_strategies_and_lineages_that_wait_for_each_other_all_end() -> None:
    run = Run()
    given: list[Planned | Refused] = [
        planned(run.engine, [node(f"n{at}")], strategy=f"s{at % 7}", lineage=f"l{at % 5}", position=at)
        for at in range(1, ITEMS_MAX + 100)
    ]
    run.start(given)
    assert run.paused.wait(TIMEOUT_S)
    run.gate.open.set()
    assert sorted(positions(run.end())) == list(range(1, ITEMS_MAX + 100))
    assert run.failed is None


def test_a_stop_while_paused_ends_the_input_and_leaves_or_answers_what_was_read() -> None:
    stop = threading.Event()
    run = Run(RetryPolicy(lambda _: None, stop.is_set))
    run.start([first(run), *behind(ITEMS_MAX + 300)])
    assert run.paused.wait(TIMEOUT_S)
    stop.set()
    run.gate.open.set()
    found = positions(run.end())
    assert found == list(range(1, len(found) + 1))
    assert run.failed is None


class Outage:
    """A run whose topics cannot be created until `over` is set, and that is paused by what waits behind."""

    def __init__(self) -> None:
        self.over, self.stop = threading.Event(), threading.Event()
        self.tries: list[float] = []
        self.run = Run(RetryPolicy(self._wait, self.stop.is_set))
        self.run.gate.open.set()
        self._create = self.run.gate.create
        self.run.gate.create = self._refused  # type: ignore[method-assign]  # an outage of the broker
        self.run.start([first(self.run), *behind(ITEMS_MAX + 100)])
        assert self.run.paused.wait(TIMEOUT_S)
        until(lambda: len(self.tries) > 2)

    def _wait(self, seconds: float) -> None:
        self.tries.append(seconds)
        self.stop.wait(0.001)

    def _refused(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        if not self.over.is_set():
            raise UnavailableError("gone for a while")
        return self._create(specs)


def test_after_an_outage_while_paused_all_are_answered() -> None:
    outage = Outage()
    outage.over.set()
    assert positions(outage.run.end()) == list(range(1, ITEMS_MAX + 102))
    assert outage.run.failed is None


def test_a_stop_in_an_outage_while_paused_ends_the_run_and_answers_nothing() -> None:
    outage = Outage()
    outage.stop.set()
    assert not outage.run.end()
    assert outage.run.failed is not None
    assert isinstance(cause_of(outage.run.failed), UnavailableError)
