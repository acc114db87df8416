"""What is in progress: who overtakes it, who waits behind it, and what a snapshot of it resumes."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from dagmanager.dag.model import WholeValue
from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Answer, InProgress, Planned, Refused
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.topics.admin_log import MemoryAdminLog
from operators.finisher import Finisher
from operators.poison_quarantine import PoisonCandidate, PoisonQuarantine
from operators.result_order import ITEMS_MAX, ResultOrder
from operators.step_guard import StepGuard
from operators.steps.upsert import FinishLogic, start
from operators.store_retry import RetryPolicy
from tests.engine.builders import Stores, engine, node
from tests.operators.passing import FEED, IMPATIENT, REFUSED, fresh, planned
from tests.operators.test_poison_quarantine import MemoryStore
from tests.waiting import TIMEOUT_S, until


class Gate:
    """Topics that are created only while the gate is open."""

    def __init__(self, stores: Stores) -> None:
        self.open = threading.Event()
        self.requests: list[int] = []
        self._inner = stores.topics

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        self.requests.append(len(specs))
        assert self.open.wait(TIMEOUT_S)
        return self._inner.create(specs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Flow:
    """The steps after classify of one worker, driven by hand; one shard."""

    def __init__(
        self, stores: Stores, state: dict[str, Any] | None = None, retry: RetryPolicy = IMPATIENT
    ) -> None:
        self.gate = Gate(stores)
        self.engine = engine(stores, topics=self.gate)
        self.finisher = Finisher(
            self.engine, Reader(ReadOptions()), StepGuard(PoisonQuarantine(), retry), background=True
        )
        self.logic = FinishLogic(state, self.finisher, ResultOrder())

    def give(self, *items: Planned | Refused) -> list[str]:
        """A micro-batch; who is answered at once."""
        batch: list[Answer | InProgress | Refused] = []
        for each in items:
            batch += [each] if isinstance(each, Refused) else self.engine.claim([each])
        return names(self.logic.on_batch(start(batch, self.finisher)))

    def plan(self, name: str, strategy: str, **fields: Any) -> Planned:
        lineage = fields.pop("lineage", strategy)
        return planned(self.engine, [node(name)], strategy=strategy, lineage=lineage, **fields)

    def finish(self) -> list[str]:
        self.gate.open.set()
        return names(self.logic.on_eof())


def names(found: tuple[Any, bool]) -> list[str]:
    return [
        each.strategy_id if isinstance(each, Refused) else each.submission.strategy_id for each in found[0]
    ]


def test_others_overtake_and_what_follows_waits() -> None:
    stores = fresh()
    engine(stores).submit([planned(engine(stores), [FEED], strategy="old", lineage="old").submission])
    flow = Flow(stores)
    slow = flow.plan("slow", "a", lineage="one", position=1)
    ready = [
        planned(flow.engine, [FEED], strategy=who, lineage=lineage, position=at)
        for at, (who, lineage) in enumerate([("a", "two"), ("b", "one"), ("c", "three")], start=2)
    ]
    assert flow.give(slow, *ready) == ["c"]
    assert flow.logic.notify_at() is not None
    assert flow.give(planned(flow.engine, [FEED], strategy="d", lineage="four", position=5)) == ["d"]
    assert flow.finish() == ["a", "a", "b"]
    assert flow.logic.notify_at() is None


def test_topics_of_what_is_queued_are_created_with_one_request() -> None:
    flow = Flow(fresh())
    flow.give(flow.plan("one", "a", position=1))
    for at in range(2, 6):
        flow.give(flow.plan(f"n{at}", f"s{at}", position=at))
    assert len(flow.finish()) == 5
    assert len(flow.gate.requests) <= 2
    assert sum(flow.gate.requests) == 5


def test_a_snapshot_is_plain_and_resumes_in_order_with_the_same_answers() -> None:
    stores = fresh()
    flow = Flow(stores)
    flow.give(flow.plan("slow", "a", position=1), flow.plan("other", "b", position=2))
    flow.give(flow.plan("slow", "a", version="v2", position=3), REFUSED)
    state = pickle.loads(pickle.dumps(flow.logic.snapshot()))
    assert [each["submission_id"] == "" for each in state["items"]] == [False, False, False]
    again = Flow(stores, state)
    assert again.logic.notify_at() is not None
    assert again.finish() == ["a", "b", "a"]
    again.logic.snapshot()
    assert flow.finish() == ["a", "b", "a"]


def test_a_refusal_behind_its_strategy_is_resumed_as_it_was() -> None:
    stores = fresh()
    flow = Flow(stores)
    behind = Refused(REFUSED.record, "bad", REFUSED.rejection, ("",))
    flow.give(flow.plan("slow", "bad", position=1), behind)
    state = flow.logic.snapshot()
    again = Flow(stores, state)
    again.gate.open.set()
    (first, second), discard = again.logic.on_eof()
    assert isinstance(first, Answer)
    assert isinstance(second, Refused)
    assert (second.record, second.rejection.code, discard) == (behind.record, behind.rejection.code, True)
    flow.finish()


def test_of_a_record_that_was_cut_digest_and_length_of_the_whole_are_resumed() -> None:
    stores = fresh()
    flow = Flow(stores)
    record = msgspec.structs.replace(REFUSED.record, whole=WholeValue("blake3:all", 9_000_000))
    flow.give(flow.plan("slow", "bad", position=1), Refused(record, "bad", REFUSED.rejection, ("",)))
    again = Flow(stores, pickle.loads(pickle.dumps(flow.logic.snapshot())))
    again.gate.open.set()
    (_, found), _ = again.logic.on_eof()
    assert isinstance(found, Refused)
    assert (found.record, found.rejection.code) == (record, "too_large")
    flow.finish()


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(SettingsError, match="state of version 2, unknown to this release: finish them"):
        Flow(fresh(), {"v": 2, "items": []})


def test_an_outage_during_the_finish_is_waited_for_and_found_again_by_a_replay() -> None:
    stores, pauses = fresh(), list[float]()
    flow = Flow(stores, retry=RetryPolicy(pauses.append, lambda: False))
    failures = iter([UnavailableError("gone"), UnavailableError("gone")])

    class Failing(MemoryAdminLog):
        def append(self, entries: Sequence[AdminEntry]) -> None:
            for each in failures:
                raise each
            super().append(entries)

    flow.engine.admin_log = Failing()
    flow.give(flow.plan("slow", "a", position=1))
    assert flow.finish() == ["a"]
    assert len(pauses) == 2


def test_a_defect_in_the_finish_ends_the_flow() -> None:
    flow = Flow(fresh())

    def defect(specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        raise KeyError(len(specs))

    flow.gate.create = defect  # type: ignore[method-assign]  # a defect of ours
    with pytest.raises(KeyError):  # noqa: PT012 - whichever of them notices it first
        flow.give(flow.plan("slow", "a", position=1))
        flow.finish()


def test_a_record_in_quarantine_is_refused_when_it_is_resumed() -> None:
    stores = fresh()
    flow = Flow(stores)
    slow = flow.plan("slow", "a", position=1)
    flow.give(slow)
    state = flow.logic.snapshot()
    again = Flow(stores, state)
    assert slow.submission.record is not None
    again.finisher._quarantine.begin(
        MemoryStore((PoisonCandidate(slow.submission.record.origin, 3, "upsert"),))
    )
    (found,), _ = again.logic.on_eof()
    assert isinstance(found, Refused)
    assert found.rejection.code == "quarantined"
    flow.finish()


def test_the_flow_waits_while_too_much_is_in_progress() -> None:
    flow, passed = Flow(fresh()), list[str]()
    given = [flow.plan(f"n{at}", f"s{at}", position=at) for at in range(ITEMS_MAX + 1)]
    worker = threading.Thread(target=lambda: passed.extend(flow.give(*given)))
    worker.start()
    until(lambda: bool(flow.gate.requests))
    assert not passed
    flow.gate.open.set()
    worker.join(TIMEOUT_S)
    assert passed, "without a limit it had come back with nothing while the gate was closed"
    assert len(passed) + len(flow.finish()) == ITEMS_MAX + 1
