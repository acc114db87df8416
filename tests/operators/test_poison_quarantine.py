"""Who is counted for a death, who is not, and when it is forgotten."""

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
class MemoryHand:
    held: tuple[Origin, ...] = ()

    def take(self, step: str, origins: Sequence[Origin]) -> None:
        self.held = tuple(origins)

    def clear(self) -> None:
        self.held = ()


@dataclass
class MemoryLedger:
    found: tuple[PoisonCandidate, ...] = ()
    hands: list[MemoryHand] = field(default_factory=list)

    def suspects(self) -> tuple[PoisonCandidate, ...]:
        return self.found

    def keep(self, suspects: Sequence[PoisonCandidate]) -> None:
        self.found = tuple(suspects)

    def hand(self) -> MemoryHand:
        self.hands.append(MemoryHand())
        return self.hands[-1]

    @property
    def held(self) -> set[Origin]:
        return {origin for hand in self.hands for origin in hand.held}


def begun(*suspects: PoisonCandidate) -> tuple[PoisonQuarantine, MemoryLedger]:
    ledger, attempts = MemoryLedger(suspects), PoisonQuarantine()
    attempts.begin(ledger)
    return attempts, ledger


def same(item: Origin) -> Origin:
    return item


def raising(failed: Exception) -> object:
    raise failed


def test_a_batch_is_in_hand_while_it_is_worked_on() -> None:
    attempts, ledger = begun()
    seen: list[set[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        seen.append(ledger.held)
        return batch

    assert attempts.batches("upsert", call, same, IMPATIENT)(AT) == AT
    assert seen == [set(AT)]
    assert not ledger.held


def test_while_one_is_suspected_its_neighbours_are_taken_one_by_one() -> None:
    attempts, ledger = begun(PoisonCandidate(AT[2], 1, "lookup"))
    seen: list[list[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        assert ledger.held == set(batch)
        seen.append(batch)
        return batch

    work = attempts.batches("lookup", call, same, IMPATIENT)
    assert work(AT[:4]) == AT[:4]
    assert work(AT[4:]) == AT[4:]
    assert seen == [[AT[0]], [AT[1]], [AT[2]], [AT[3]], AT[4:]]


@pytest.mark.parametrize(
    ("failed", "to_blame"),
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
def test_what_the_world_does_is_no_record_s_fault(failed: Exception, to_blame: bool) -> None:
    attempts, ledger = begun()
    each = attempts.each("hash", lambda _: raising(failed), same)
    batch = attempts.batches("lookup", lambda _: [raising(failed)], same, IMPATIENT)
    with pytest.raises(type(failed)):
        each(AT[0])
    assert ledger.held == ({AT[0]} if to_blame else set())
    with pytest.raises(type(failed)):
        batch(AT[1:])
    assert ledger.held == (set(AT[1:]) if to_blame else set())


def test_nothing_is_in_hand_while_a_store_is_waited_for() -> None:
    attempts, ledger = begun()
    tries: list[set[Origin]] = []

    def call(batch: list[Origin]) -> list[Origin]:
        tries.append(ledger.held)
        if len(tries) < 3:
            raise UnavailableError("away")
        return batch

    slept: list[set[Origin]] = []
    patience = RetryPolicy(lambda _: slept.append(ledger.held), lambda: False)
    assert attempts.batches("lookup", call, same, patience)(AT[:2]) == AT[:2]
    assert tries == [set(AT[:2]), set(), set()], "a try that hangs in an outage is nobody's fault either"
    assert slept == [set(), set()]


def test_after_three_attempts_a_record_is_refused_with_their_number() -> None:
    attempts, _ = begun(
        PoisonCandidate(AT[0], ATTEMPTS_MAX - 1, "hash"), PoisonCandidate(AT[1], ATTEMPTS_MAX, "hash")
    )
    assert attempts.quarantined(Record(b"", AT[0])) is None
    refused = attempts.quarantined(Record(b"x", AT[1], b"ingest:s1"))
    assert refused is not None
    assert refused.rejection.code is ErrorCode.QUARANTINED
    assert (refused.strategy_id, refused.attempts) == ("s1", 3)


def test_an_attempt_is_forgotten_one_epoch_after_that_of_the_answer() -> None:
    suspects = PoisonCandidate(AT[0], 1, "hash"), PoisonCandidate(AT[1], 2, "hash")
    attempts, ledger = begun(*suspects)
    attempts.answered(AT[0])
    attempts.answered(AT[5])
    attempts.epoch_over()
    assert list(ledger.found) == list(suspects)
    attempts.epoch_over()
    assert list(ledger.found) == list(suspects[1:])


def test_while_one_is_suspected_no_two_workers_have_something_in_hand() -> None:
    attempts, ledger = begun(PoisonCandidate(AT[0], 1, "hash"))
    most: list[int] = []
    work = attempts.each("hash", lambda _: most.append(len(ledger.held)), same)
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
        hand = AttemptFiles(tmp_path).hand()
        hand.take("upsert", [AT[0], AT[0], *[wide] * 50])
        assert {each.attempts for each in AttemptFiles(tmp_path).suspects()} == {attempt}
    found = AttemptFiles(tmp_path).suspects()
    assert {each.origin: each.attempts for each in found} == {AT[0]: 2, wide: 2}
    assert {each.step for each in found} == {"upsert"}


def test_an_empty_or_broken_hand_blames_nobody(tmp_path: Path) -> None:
    hand = AttemptFiles(tmp_path).hand()
    hand.take("hash", AT)
    hand.clear()
    (tmp_path / "hand-7").write_bytes(b"\x05\0\0\0{]")
    (tmp_path / "hand-8").write_bytes(b"")
    assert AttemptFiles(tmp_path).suspects() == ()
    assert not list(tmp_path.iterdir())


def test_a_broken_count_begins_anew_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("{")
    assert AttemptFiles(tmp_path).suspects() == ()
    assert "is damaged" in caplog.text


def test_a_run_that_ends_well_leaves_nothing_and_one_that_fails_all(tmp_path: Path) -> None:
    attempts = PoisonQuarantine()
    work = attempts.each("hash", lambda _: raising(KeyError("x")), same)
    with pytest.raises(KeyError), counted(attempts, tmp_path):
        work(AT[0])
    again = PoisonQuarantine()
    with counted(again, tmp_path):
        again.each("hash", lambda _: None, same)(AT[1])
        assert (tmp_path / FILE).exists()
    assert not list(tmp_path.iterdir())
