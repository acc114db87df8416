"""What a guarded step is called with, what passes it, when it is called again, and as what its records are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.stages import Refused
from dagmanager.errors import UnavailableError
from operators.poison_quarantine import PoisonQuarantine
from operators.step_guard import StepGuard
from operators.store_retry import RetryPolicy
from tests.operators.passing import REFUSED, cause_of, guard, passed
from tests.operators.test_poison_quarantine import MemoryMarker, MemoryStore

RECORDS = [Record(b"{}", Origin("submissions", "t1", 0, position)) for position in range(4)]
PATIENT = RetryPolicy(lambda _: None, lambda: False)
GIVEN: list[tuple[str, Any]] = [
    ("00", RECORDS[0]),
    ("01", REFUSED),
    ("00", RECORDS[1]),
    ("02", REFUSED),
    ("01", RECORDS[2]),
]


class NamingMarker(MemoryMarker):
    """Keeps every step's name and its number of records."""

    def __init__(self, marks: list[tuple[str, int]]) -> None:
        super().__init__()
        self._marks = marks

    def mark(self, step: str, origins: Sequence[Origin]) -> None:
        super().mark(step, origins)
        self._marks.append((step, len(origins)))


class NamingStore(MemoryStore):
    """Its markers write to `marks`."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[str, int]] = []

    def marker(self) -> MemoryMarker:
        self.markers.append(NamingMarker(self.marks))
        return self.markers[-1]


class Away:
    """Work that finds its store unreachable at the first call, and gives the position of each record."""

    def __init__(self) -> None:
        self.calls: list[list[Record]] = []

    def __call__(self, batch: list[Record]) -> list[int]:
        self.calls.append(batch)
        if len(self.calls) == 1:
            raise UnavailableError("gone for a while")
        return [each.origin.position for each in batch]


def test_what_passes_keeps_its_place_and_the_others_are_one_micro_batch() -> None:
    calls: list[list[Record]] = []

    def work(batch: list[Record]) -> list[int]:
        calls.append(batch)
        return [each.origin.position for each in batch]

    found = passed(lambda up: guard().batches("step", up, work, passing=Refused), GIVEN)
    assert found == [("00", 0), ("01", REFUSED), ("00", 1), ("02", REFUSED), ("01", 2)]
    assert calls == [RECORDS[:3]]


def test_a_micro_batch_that_passes_as_a_whole_is_no_work() -> None:
    def work(batch: list[Record]) -> list[int]:
        raise KeyError(len(batch))

    given = [("00", REFUSED), ("01", REFUSED)]
    assert passed(lambda up: guard().batches("step", up, work, passing=Refused), given) == given


def test_a_step_of_single_items_gives_any_number_for_each() -> None:
    def work(item: Record) -> list[int]:
        return [item.origin.position] * item.origin.position

    found = passed(lambda up: guard().each("step", up, work, passing=Refused), GIVEN)
    assert found == [("01", REFUSED), ("00", 1), ("02", REFUSED), ("01", 2), ("01", 2)]


def test_a_micro_batch_is_tried_again_with_the_same_items_while_a_store_is_unreachable() -> None:
    away = Away()
    found = passed(lambda up: guard(PATIENT).batches("step", up, away, passing=Refused), GIVEN)
    assert [item for _, item in found if not isinstance(item, Refused)] == [0, 1, 2]
    assert away.calls == [RECORDS[:3]] * 2


def test_a_step_of_single_items_is_not_tried_again() -> None:
    calls: list[Record] = []

    def work(item: Record) -> list[int]:
        calls.append(item)
        raise UnavailableError("gone for a while")

    with pytest.raises(BytewaxRuntimeError) as failed:
        passed(lambda up: guard(PATIENT).each("step", up, work, passing=Refused), GIVEN)
    assert isinstance(cause_of(failed.value), UnavailableError)
    assert calls == RECORDS[:1]


@pytest.mark.parametrize(("name", "marked_as"), [("", "step"), ("upsert", "upsert")])
def test_markers_and_waits_have_the_name_of_the_step_or_the_one_that_replaces_it(
    name: str, marked_as: str
) -> None:
    waits: list[str] = []
    store, quarantine = NamingStore(), PoisonQuarantine()
    quarantine.begin(store)
    retry = RetryPolicy(lambda _: None, lambda: False, lambda step, _: waits.append(step))
    guarded = StepGuard(quarantine, retry)
    passed(lambda up: guarded.batches("step", up, Away(), passing=Refused, name=name), GIVEN)
    assert store.marks == [(marked_as, 3)], "the tries that follow are an outage and mark nothing"
    assert waits == [marked_as, marked_as], "its begin and its end"


def test_work_that_is_no_step_is_marked_and_tried_again_as_a_step_is() -> None:
    waits: list[str] = []
    store, quarantine = NamingStore(), PoisonQuarantine()
    quarantine.begin(store)
    retry = RetryPolicy(lambda _: None, lambda: False, lambda step, _: waits.append(step))
    away = Away()
    work = StepGuard(quarantine, retry).batch_work("other", away, lambda item: item.origin)
    assert work(RECORDS) == [0, 1, 2, 3]
    assert away.calls == [RECORDS] * 2
    assert store.marks == [("other", 4)]
    assert waits == ["other", "other"]
