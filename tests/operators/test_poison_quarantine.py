"""For which record a death counts, for which not, and when a candidate is dropped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagmanager.dag.model import Origin, Record
from dagmanager.errors import (
    DagManagerError,
    ErrorCode,
    SettingsError,
    StoreRefusedError,
    UnavailableError,
)
from flows.attempt_files import FILE, AttemptFiles, counted
from operators.poison_quarantine import ATTEMPTS_MAX, PoisonCandidate, PoisonQuarantine
from operators.store_retry import RetryPolicy

AT = [Origin("t", "id", 0, position) for position in range(6)]
IMPATIENT = RetryPolicy(lambda _: None, lambda: True)


@dataclass
class MemoryMarker:
    marked: tuple[Origin, ...] = ()

    def mark(self, step: str, origins: Sequence[Origin]) -> None:
        self.marked = tuple(origins)

    def clear(self) -> None:
        self.marked = ()


@dataclass
class MemoryStore:
    found: tuple[PoisonCandidate, ...] = ()
    markers: list[MemoryMarker] = field(default_factory=list)

    def candidates(self) -> tuple[PoisonCandidate, ...]:
        return self.found

    def keep(self, candidates: Sequence[PoisonCandidate]) -> None:
        self.found = tuple(candidates)

    def marker(self) -> MemoryMarker:
        self.markers.append(MemoryMarker())
        return self.markers[-1]

    @property
    def marked(self) -> set[Origin]:
        return {origin for each in self.markers for origin in each.marked}


def begun(*candidates: PoisonCandidate) -> tuple[PoisonQuarantine, MemoryStore]:
    store, quarantine = MemoryStore(candidates), PoisonQuarantine()
    quarantine.begin(store)
    return quarantine, store


def same(item: Origin) -> Origin:
    return item


def raising(failed: Exception) -> object:
    raise failed


def test_a_batch_is_marked_while_it_is_worked_on() -> None:
    quarantine, store = begun()
    seen: list[set[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        seen.append(store.marked)
        return batch

    assert quarantine.batches("upsert", call, same, IMPATIENT)(AT) == AT
    assert seen == [set(AT)]
    assert not store.marked


def test_while_a_record_is_suspected_its_neighbours_are_handled_one_by_one() -> None:
    quarantine, store = begun(PoisonCandidate(AT[2], 1, "lookup"))
    seen: list[list[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        assert store.marked == set(batch)
        seen.append(batch)
        return batch

    work = quarantine.batches("lookup", call, same, IMPATIENT)
    assert work(AT[:4]) == AT[:4]
    assert work(AT[4:]) == AT[4:]
    assert seen == [[AT[0]], [AT[1]], [AT[2]], [AT[3]], AT[4:]]


@pytest.mark.parametrize(
    ("failed", "counts"),
    [
        (KeyError("x"), True),
        (MemoryError(), True),
        (StoreRefusedError("this statement"), True),
        (UnavailableError("away"), False),
        (SettingsError("wrong password"), False),
        (DagManagerError("disk of the server"), False),
        (OSError(28, "no space"), False),
    ],
)
def test_what_a_store_or_the_system_does_counts_for_no_record(failed: Exception, counts: bool) -> None:
    quarantine, store = begun()
    each = quarantine.each("hash", lambda _: raising(failed), same)
    batch = quarantine.batches("lookup", lambda _: [raising(failed)], same, IMPATIENT)
    with pytest.raises(type(failed)):
        each(AT[0])
    assert store.marked == ({AT[0]} if counts else set())
    with pytest.raises(type(failed)):
        batch(AT[1:])
    assert store.marked == (set(AT[1:]) if counts else set())


def test_nothing_is_marked_while_a_step_waits_for_a_store() -> None:
    quarantine, store = begun()
    tries: list[set[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        tries.append(store.marked)
        if len(tries) < 3:
            raise UnavailableError("away")
        return batch

    slept: list[set[Origin]] = []
    retry = RetryPolicy(lambda _: slept.append(store.marked), lambda: False)
    assert quarantine.batches("lookup", call, same, retry)(AT[:2]) == AT[:2]
    assert tries == [set(AT[:2]), set(), set()], (
        "a kill during a try in an outage counts for no record either"
    )
    assert slept == [set(), set()]


def test_after_three_attempts_a_record_is_refused_with_their_number() -> None:
    quarantine, _ = begun(
        PoisonCandidate(AT[0], ATTEMPTS_MAX - 1, "hash"), PoisonCandidate(AT[1], ATTEMPTS_MAX, "hash")
    )
    assert quarantine.refusal_of(Record(b"", AT[0])) is None
    refused = quarantine.refusal_of(Record(b"x", AT[1], b"ingest:s1"))
    assert refused is not None
    assert refused.rejection.code is ErrorCode.QUARANTINED
    assert (refused.strategy_id, refused.attempts) == ("s1", 3)


def test_a_candidate_is_dropped_one_epoch_after_that_of_the_answer() -> None:
    candidates = PoisonCandidate(AT[0], 1, "hash"), PoisonCandidate(AT[1], 2, "hash")
    quarantine, store = begun(*candidates)
    quarantine.answered(AT[0])
    quarantine.answered(AT[5])
    quarantine.epoch_over()
    assert list(store.found) == list(candidates)
    quarantine.epoch_over()
    assert list(store.found) == list(candidates[1:])


def test_while_a_record_is_suspected_one_worker_works_at_a_time() -> None:
    quarantine, store = begun(PoisonCandidate(AT[0], 1, "hash"))
    most: list[int] = []
    work = quarantine.each("hash", lambda _: most.append(len(store.marked)), same)
    threads = [threading.Thread(target=lambda: [work(AT[1]) for _ in range(500)]) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(most) == 1500
    assert set(most) == {1}


def test_what_a_kill_leaves_in_the_folder_is_counted_once_per_start(tmp_path: Path) -> None:
    wide = Origin("/" + "long/" * 800, "1", 0, 7)
    for attempt in (1, 2):
        marker = AttemptFiles(tmp_path).marker()
        marker.mark("upsert", [AT[0], AT[0], *[wide] * 50])
        assert {each.attempts for each in AttemptFiles(tmp_path).candidates()} == {attempt}
    found = AttemptFiles(tmp_path).candidates()
    assert {each.origin: each.attempts for each in found} == {AT[0]: 2, wide: 2}
    assert {each.step for each in found} == {"upsert"}


def test_an_empty_or_damaged_marker_counts_for_no_record(tmp_path: Path) -> None:
    marker = AttemptFiles(tmp_path).marker()
    marker.mark("hash", AT)
    marker.clear()
    (tmp_path / "hand-7").write_bytes(b"\x05\0\0\0{]")
    (tmp_path / "hand-8").write_bytes(b"")
    assert AttemptFiles(tmp_path).candidates() == ()
    assert not list(tmp_path.glob("hand-*"))


def test_a_damaged_count_starts_at_zero_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text("{")
    assert AttemptFiles(tmp_path).candidates() == ()
    assert "is damaged" in caplog.text


def test_a_run_that_ends_well_leaves_nothing_and_one_that_fails_all(tmp_path: Path) -> None:
    quarantine = PoisonQuarantine()
    work = quarantine.each("hash", lambda _: raising(KeyError("x")), same)
    with pytest.raises(KeyError), counted(quarantine, tmp_path):
        work(AT[0])
    again = PoisonQuarantine()
    with counted(again, tmp_path):
        again.each("hash", lambda _: None, same)(AT[1])
        assert (tmp_path / FILE).exists()
    assert not list(tmp_path.iterdir())


def test_an_interrupt_counts_for_no_record_and_keeps_what_was_counted(tmp_path: Path) -> None:
    """A person who loses patience with an outage must not quarantine the record that waits for it."""
    AttemptFiles(tmp_path).marker().mark("upsert", AT)
    interrupted = AttemptFiles(tmp_path)
    counted_before = interrupted.candidates()
    interrupted.marker().mark("upsert", AT)
    interrupted.interrupt()
    interrupted.close()
    after = AttemptFiles(tmp_path)
    assert after.candidates() == counted_before
    after.marker().mark("upsert", AT)
    assert {each.attempts for each in AttemptFiles(tmp_path).candidates()} == {2}, "that one was a kill"
