"""How pending submissions get their results: with and without a thread, beside a rival, after an outage or a restart."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import pytest

from dagmanager.engine.engine import Engine
from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Answer, InProgress, Refused
from dagmanager.errors import UnavailableError
from dagmanager.topics.admin_log import MemoryAdminLog
from operators.finisher import PAUSE, Done, Finisher, PendingResult, Unread
from operators.poison_quarantine import ATTEMPTS_MAX, PoisonCandidate, PoisonQuarantine
from operators.step_guard import StepGuard
from operators.store_retry import RetryPolicy
from tests.engine.builders import Json, engine, node
from tests.operators.passing import IMPATIENT, finisher, fresh, guard, planned
from tests.operators.steps.test_finish import Gate
from tests.operators.test_poison_quarantine import MemoryStore
from tests.operators.test_step_guard import NamingStore
from tests.waiting import TIMEOUT_S, until


def claimed(engine: Engine, nodes: list[Json], strategy: str, position: int = 1) -> PendingResult:
    """A claim in progress of this engine."""
    plan = planned(engine, nodes, strategy=strategy, lineage=strategy, position=position)
    (claim,) = engine.claim([plan])
    assert isinstance(claim, InProgress)
    submission = claim.submission
    return PendingResult(submission.record, (f"strategy {strategy}",), claim, submission.submission_id)


def unread(item: PendingResult) -> PendingResult:
    """The same item as a snapshot keeps it: only its record is known."""
    return PendingResult(item.record, item.keys, Unread(), item.submission_id, item.worlds)


def results_of(item: PendingResult) -> tuple[Answer | Refused, ...]:
    assert isinstance(item.progress, Done)
    return item.progress.results


def in_background(engine: Engine, retry: RetryPolicy = IMPATIENT) -> Finisher:
    return Finisher(engine, Reader(ReadOptions()), guard(retry), background=True)


def test_without_a_thread_put_returns_when_all_have_results() -> None:
    one = engine(fresh())
    items = [claimed(one, [node(f"n{at}")], f"s{at}", at) for at in range(3)]
    before = threading.active_count()
    finisher(one).put(items)
    assert threading.active_count() == before
    found = [result for item in items for result in results_of(item)]
    assert [each.submission.strategy_id for each in found if isinstance(each, Answer)] == ["s0", "s1", "s2"]


def test_the_thread_exists_only_while_something_has_no_result() -> None:
    stores = fresh()
    gate = Gate(stores)
    one = engine(stores, topics=gate)
    working = in_background(one)
    before = set(threading.enumerate())

    def own() -> list[str]:
        return [each.name for each in set(threading.enumerate()) - before]

    for at in range(2):
        gate.open.clear()
        item = claimed(one, [node(f"n{at}")], f"s{at}", at)
        working.put([item])
        assert own() == ["finisher"]
        assert not item.is_done
        gate.open.set()
        working.wait(lambda: item.is_done)  # noqa: B023 - called before the next round
        until(lambda: not own())


def test_what_joined_a_rivals_queue_is_tried_again_after_short_pauses_until_the_rival_is_done() -> None:
    stores, pauses = fresh(), list[float]()
    rival = engine(stores, "rival")
    first = claimed(rival, [node("shared")], "a")

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            finisher(rival).put([first])

    one = engine(stores, "one", sleep=sleep)
    second = claimed(one, [node("shared")], "b", 2)
    finisher(one).put([second])
    assert len(results_of(second)) == 1
    longest = list(islice(PAUSE.pauses(lambda: 0.0), 3))
    shortest = list(islice(PAUSE.pauses(lambda: 1.0), 3))
    assert len(pauses) == 3
    assert all(low <= each <= high for low, each, high in zip(shortest, pauses, longest, strict=True))


def test_during_an_outage_a_claim_is_a_submission_again_and_is_claimed_again() -> None:
    failures, kinds = iter([UnavailableError("gone for a while")]), list[str]()

    class Failing(MemoryAdminLog):
        def append(self, entries: Sequence[AdminEntry]) -> None:
            for each in failures:
                raise each
            super().append(entries)

    one = engine(fresh(), log=Failing())
    item = claimed(one, [node("slow")], "a")
    retry = RetryPolicy(lambda _: kinds.append(type(item.progress).__name__), lambda: False)
    finisher(one, retry).put([item])
    assert kinds == ["Submission"]
    assert len(results_of(item)) == 1


def test_what_ended_the_finisher_is_raised_in_every_thread_that_waits_and_in_those_that_come_later() -> None:
    stores, ready, go = fresh(), threading.Barrier(3), threading.Event()
    gate, raised = Gate(stores), list[str]()

    def defect(specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        assert go.wait(TIMEOUT_S)
        raise KeyError(len(specs))

    gate.create = defect  # type: ignore[method-assign]  # a defect of ours
    one = engine(stores, topics=gate)
    working = in_background(one)
    working.put([claimed(one, [node("slow")], "a")])

    def wait() -> None:
        ready.wait(TIMEOUT_S)
        try:
            working.wait(lambda: False)
        except KeyError as failed:
            raised.append(str(failed))

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for each in threads:
        each.start()
    ready.wait(TIMEOUT_S)
    go.set()
    for each in threads:
        each.join(TIMEOUT_S)
    assert raised == ["1", "1"]
    with pytest.raises(KeyError):
        working.wait(lambda: True)


def test_a_record_of_an_earlier_process_is_read_and_gets_the_same_answer() -> None:
    stores = fresh()
    one = engine(stores)
    item = claimed(one, [node("n")], "a")
    again = unread(item)
    finisher(engine(stores, "next")).put([again])
    finisher(one).put([item])
    (found,), (expected,) = results_of(again), results_of(item)
    assert isinstance(found, Answer)
    assert isinstance(expected, Answer)
    assert found.result == expected.result


def test_a_record_that_no_longer_has_the_submission_is_refused_as_expired() -> None:
    one = engine(fresh())
    item = claimed(one, [node("n")], "a")
    other: Any = PendingResult(item.record, item.keys, Unread(), "blake3:of other settings")
    finisher(one).put([other])
    (found,) = results_of(other)
    assert isinstance(found, Refused)
    assert found.rejection.code == "expired"
    assert "read with other settings before a restart" in found.rejection.message
    assert not found.dry_run


def test_a_record_in_quarantine_gets_one_refusal_however_many_submissions_it_had() -> None:
    one = engine(fresh())
    item = claimed(one, [node("n")], "a")
    quarantine = PoisonQuarantine()
    quarantine.begin(MemoryStore((PoisonCandidate(item.origin, ATTEMPTS_MAX, "upsert"),)))
    working = Finisher(one, Reader(ReadOptions()), StepGuard(quarantine, IMPATIENT), background=False)
    items = [unread(item), unread(item)]
    working.put(items)
    (found,) = results_of(items[0])
    assert isinstance(found, Refused)
    assert found.rejection.code == "quarantined"
    assert results_of(items[1]) == ()


@pytest.mark.parametrize("attempts", [0, ATTEMPTS_MAX], ids=["read otherwise", "quarantined"])
def test_a_refusal_by_the_finisher_says_that_it_answers_a_dry_run(attempts: int) -> None:
    one = engine(fresh())
    item = claimed(one, [node("n")], "a")
    quarantine = PoisonQuarantine()
    quarantine.begin(MemoryStore((PoisonCandidate(item.origin, attempts, "upsert"),)))
    reader = Reader(ReadOptions(dry_run_ids=frozenset({"a"})))
    working = Finisher(one, reader, StepGuard(quarantine, IMPATIENT), background=False)
    other = PendingResult(item.record, item.keys, Unread(), "blake3:of other settings")
    working.put([other])
    (found,) = results_of(other)
    assert isinstance(found, Refused)
    assert found.rejection.code == ("quarantined" if attempts else "expired")
    assert found.dry_run


def test_records_are_marked_as_in_flight_in_upsert_while_they_are_worked_on() -> None:
    stores = fresh()
    gate, store, quarantine = Gate(stores), NamingStore(), PoisonQuarantine()
    quarantine.begin(store)
    one = engine(stores, topics=gate)
    item = claimed(one, [node("n")], "a")
    working = Finisher(one, Reader(ReadOptions()), StepGuard(quarantine, IMPATIENT), background=True)
    working.put([item])
    until(lambda: bool(gate.requests))
    assert store.marked == {item.origin}
    assert store.marks == [("upsert", 1)]
    gate.open.set()
    working.wait(lambda: item.is_done)
    assert not store.marked
