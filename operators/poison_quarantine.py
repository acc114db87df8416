"""Poison: a record at which the process died three times is answered as refused, and the flow goes on.

What a step works on stands in its thread's `Hand` while it does, and a kill leaves it there. The next run
counts an attempt for each record found in a hand. While such suspects are about, steps work on one record
at a time, so that only the culprit gains attempts. A record is suspected no more when its epoch is over.
A death while a step waits for a store that is away, or because the world refused us, counts for nobody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

import msgspec

from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.reader import strategy_of
from dagmanager.engine.stages import Answer, LookedUp, Planned, Refused
from dagmanager.errors import DagManagerError, ErrorCode, Rejection, StoreRefusedError, UnavailableError

X = TypeVar("X")
Y = TypeVar("Y")
logger = logging.getLogger("dagmanager.flow")

ATTEMPTS_MAX: Final = 3
# Where a letter's bytes are looked at: they are left out of the letter of a record that died there.
BURIAL: Final = frozenset({"dead_letter_messages", "dead_letters"})


class PoisonCandidate(msgspec.Struct, frozen=True):
    """A record at which the process died; `step` says what was done to it the last time."""

    origin: Origin
    attempts: int
    step: str


class InFlightMarker(Protocol):
    """What one thread is working on, told to whoever looks after a kill."""

    def take(self, step: str, origins: Sequence[Origin]) -> None:
        """These, in place of what was there."""
        ...

    def clear(self) -> None:
        """Nothing any more."""
        ...


class AttemptStore(Protocol):
    """Where attempts outlive the process."""

    def suspects(self) -> Sequence[PoisonCandidate]:
        """Every record at which the process died, counted."""
        ...

    def keep(self, suspects: Sequence[PoisonCandidate]) -> None:
        """These and no others."""
        ...

    def hand(self) -> InFlightMarker:
        """A new one, for the calling thread."""
        ...


class PoisonQuarantine:
    """Counts for steps that it wraps. Safe between threads; without `begin` it counts nothing."""

    def __init__(self) -> None:
        """Nobody is suspected."""
        self._ledger: AttemptStore | None = None
        self._suspects: dict[Origin, PoisonCandidate] = {}
        self._passed: set[Origin] = set()
        self._over: set[Origin] = set()
        self._mine = threading.local()
        self._lock = threading.RLock()

    def begin(self, ledger: AttemptStore) -> None:
        """From now on; before any step runs."""
        self._ledger = ledger
        self._suspects = {each.origin: each for each in ledger.suspects()}
        for each in self._suspects.values():
            logger.warning("%s: %s", _where(each.origin), _told(each))

    def quarantined(self, record: Record) -> Refused | None:
        """The refusal of a record that is tried no more."""
        suspect = self._suspects.get(record.origin)
        if suspect is None or not self.is_quarantined(record.origin):
            return None
        logger.error("%s is quarantined: it goes to the dead letters", _where(record.origin))
        why = Rejection(ErrorCode.QUARANTINED, f"{_told(suspect)}: it is tried no more")
        return Refused(
            record,
            strategy_of(record),
            why,
            attempts=suspect.attempts,
            withheld=suspect.step in BURIAL,
        )

    def is_quarantined(self, origin: Origin) -> bool:
        """Whether a record is tried no more, for steps before the one that refuses it."""
        suspect = self._suspects.get(origin)
        return suspect is not None and suspect.attempts >= ATTEMPTS_MAX

    def waits(self) -> None:
        """The calling thread waits for a store from now on: a kill is nobody's fault."""
        mine: InFlightMarker | None = getattr(self._mine, "hand", None)
        if mine is not None:
            mine.clear()

    def each(
        self, step: str, call: Callable[[X], Y], origin_of: Callable[[X], Origin | None]
    ) -> Callable[[X], Y]:
        """`call`, with its item in hand meanwhile."""

        def counted(item: X) -> Y:
            origin = origin_of(item)
            if self._ledger is None or origin is None:
                return call(item)
            if not self._suspects:
                return self._in_hand(step, call, item, (origin,))
            with self._alone():
                return self._in_hand(step, call, item, (origin,))

        return counted

    def batches(
        self,
        step: str,
        call: Callable[[list[X]], list[Y]],
        origin_of: Callable[[X], Origin | None],
        patiently: Callable[[Callable[[], list[Y]]], list[Y]],
    ) -> Callable[[list[X]], list[Y]]:
        """`call`, again until the store is back, with the batch in hand at the first try; one by one when
        one of them is suspected."""

        def counted(batch: list[X]) -> list[Y]:
            if self._ledger is None:
                return patiently(lambda: call(batch))
            if not self._suspects:
                return self._waited(step, call, batch, origin_of, patiently)
            single = any(origin_of(item) in self._suspects for item in batch)
            done: list[Y] = []
            with self._alone():
                for part in [[item] for item in batch] if single else [batch]:
                    done += self._waited(step, call, part, origin_of, patiently)
            return done

        return counted

    def answered(self, origin: Origin | None) -> None:
        """One of the record's answers is on its way; cheap when it was no suspect."""
        if origin is not None and origin in self._suspects:
            with self._lock:
                self._passed.add(origin)

    def epoch_over(self) -> None:
        """What was answered before the epoch that ends now began is suspected no more.

        One epoch late, because this one's answers may still be on their way to other sinks.
        """
        if not self._suspects:
            return
        with self._lock:
            gone, self._over, self._passed = self._over, self._passed, set()
            if not gone or self._ledger is None:
                return
            for origin in gone:
                self._suspects.pop(origin, None)
            try:
                self._ledger.keep(tuple(self._suspects.values()))
            except DagManagerError as full:
                logger.warning("attempts cannot be forgotten: %s", full)

    def _waited(
        self,
        step: str,
        call: Callable[[list[X]], list[Y]],
        batch: list[X],
        origin_of: Callable[[X], Origin | None],
        patiently: Callable[[Callable[[], list[Y]]], list[Y]],
    ) -> list[Y]:
        origins = tuple(origin for item in batch if (origin := origin_of(item)) is not None)
        away = False

        def once() -> list[Y]:
            nonlocal away
            try:
                return call(batch) if away else self._in_hand(step, call, batch, origins)
            except UnavailableError:
                away = True  # a kill while we wait is nobody's fault
                raise

        return patiently(once)

    def _in_hand(self, step: str, call: Callable[[X], Y], given: X, origins: Sequence[Origin]) -> Y:
        hand = self._hand()
        hand.take(step, origins)
        try:
            result = call(given)
        except (DagManagerError, OSError) as failed:
            if not isinstance(failed, StoreRefusedError):
                hand.clear()
            raise
        hand.clear()
        return result

    def _hand(self) -> InFlightMarker:
        mine: InFlightMarker | None = getattr(self._mine, "hand", None)
        if mine is None:
            ledger = self._ledger
            if ledger is None:
                msg = "no hand before begin()"
                raise AssertionError(msg)
            mine = self._mine.hand = ledger.hand()
        return mine

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other worker has anything in hand, or a slow bystander would be counted at each death."""
        with self._lock:
            yield


def origin_of(item: Submission | LookedUp | Planned | Answer | Refused) -> Origin | None:
    """Where an item came from; None for a submission that came in no record."""
    if isinstance(item, Refused):
        return item.record.origin
    record = item.record if isinstance(item, Submission) else item.submission.record
    return None if record is None else record.origin


def _told(suspect: PoisonCandidate) -> str:
    times = "once" if suspect.attempts == 1 else f"{suspect.attempts} times"
    return f"the process died {times} at this record, the last time in step {suspect.step}"


def _where(origin: Origin) -> str:
    return f"record {origin.position} of {origin.source}, partition {origin.partition}"
