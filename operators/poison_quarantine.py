"""Quarantine of poison records: one at which the process died three times becomes a dead letter; the flow continues.

The records that a step works on are named in its thread's in-flight marker, which survives a kill of the process. The
next run counts an attempt for each record that it finds in a marker: these are the candidates. While candidates exist,
steps work on one record at a time, so that only the record that kills the process gains attempts. A candidate is
dropped when the epoch of its answers is over. A death counts for no record while a step waits for an unreachable store,
or when a store or the system failed for a reason that has nothing to do with the record.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

import msgspec

from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.dag.record.record_key import strategy_of
from dagmanager.engine.stages import Answer, CacheHit, Canonicalized, LookedUp, Planned, Refused
from dagmanager.errors import DagManagerError, ErrorCode, Rejection, StoreRefusedError, UnavailableError

X = TypeVar("X")
Y = TypeVar("Y")
FlowItem = Record | Canonicalized | Submission | LookedUp | CacheHit | Planned | Answer | Refused
logger = logging.getLogger("dagmanager.flow")

ATTEMPTS_MAX: Final = 3
# The steps that write a dead letter. If the process died there, the letter is written without the record's bytes, or it
# would kill the process again.
LETTER_STEPS: Final = frozenset({"dead_letter_messages", "dead_letters"})


class PoisonCandidate(msgspec.Struct, frozen=True):
    """A record at which the process died `attempts` times, the last time in `step`."""

    origin: Origin
    attempts: int
    step: str


class InFlightMarker(Protocol):
    """The records that one thread works on, readable by the next process after a kill.

    On the hot path: a call takes microseconds and waits for no disk. Raises `OSError` only when a file cannot grow.
    """

    def mark(self, step: str, origins: Sequence[Origin]) -> None:
        """Name these records, in place of the former ones."""
        ...

    def clear(self) -> None:
        """Name no record."""
        ...


class AttemptStore(Protocol):
    """Keeps attempts over restarts. Raises `DagManagerError` when its folder cannot be used."""

    def candidates(self) -> Sequence[PoisonCandidate]:
        """Every record at which the process died, with one more attempt for those in the last run's markers."""
        ...

    def keep(self, candidates: Sequence[PoisonCandidate]) -> None:
        """Replace the stored candidates by these; durable before it returns."""
        ...

    def marker(self) -> InFlightMarker:
        """A new one, for the calling thread."""
        ...


class PoisonQuarantine:
    """Marks the records that the steps it wraps work on. Safe between threads; without `begin` it does nothing."""

    def __init__(self) -> None:
        """No candidates."""
        self._store: AttemptStore | None = None
        self._candidates: dict[Origin, PoisonCandidate] = {}
        self._answered: set[Origin] = set()
        self._answered_before: set[Origin] = set()
        self._thread = threading.local()
        self._lock = threading.RLock()

    def begin(self, store: AttemptStore) -> None:
        """Count attempts in this store from now on. Call it before any step runs. Raises as `AttemptStore`."""
        self._store = store
        self._candidates = {each.origin: each for each in store.candidates()}
        for each in self._candidates.values():
            logger.warning("%s: %s", _name(each.origin), _deaths(each))

    def refusal_of(self, record: Record) -> Refused | None:
        """The refusal of a record in quarantine; None for any other."""
        candidate = self._candidates.get(record.origin)
        if candidate is None or candidate.attempts < ATTEMPTS_MAX:
            return None
        logger.error("%s is quarantined: it goes to the dead letters", _name(record.origin))
        why = Rejection(ErrorCode.QUARANTINED, f"{_deaths(candidate)}: it is not tried again")
        return Refused(
            record,
            strategy_of(record),
            why,
            attempts=candidate.attempts,
            withheld=candidate.step in LETTER_STEPS,
        )

    def clear_marker(self) -> None:
        """The calling thread waits for a store from now on: a kill during the wait counts for no record."""
        marker: InFlightMarker | None = getattr(self._thread, "marker", None)
        if marker is not None:
            marker.clear()

    def each(
        self, step: str, work: Callable[[X], Y], origin_of: Callable[[X], Origin | None]
    ) -> Callable[[X], Y]:
        """`work` with its item marked as in flight while it runs. An item without an origin is not marked."""

        def marked(item: X) -> Y:
            origin = origin_of(item)
            if self._store is None or origin is None:
                return work(item)
            if not self._candidates:
                return self._marked(step, work, item, (origin,))
            with self._exclusive():
                return self._marked(step, work, item, (origin,))

        return marked

    def batches(
        self,
        step: str,
        work: Callable[[list[X]], list[Y]],
        origin_of: Callable[[X], Origin | None],
        retry: Callable[[Callable[[], list[Y]]], list[Y]],
    ) -> Callable[[list[X]], list[Y]]:
        """`work` under `retry`, with its batch marked as in flight at the first try only: later tries are an outage.

        Called with one item at a time when a candidate is among them. Their results are joined in order.
        """

        def marked(batch: list[X]) -> list[Y]:
            if self._store is None:
                return retry(lambda: work(batch))
            if not self._candidates:
                return self._retried(step, work, batch, origin_of, retry)
            single = any(origin_of(item) in self._candidates for item in batch)
            done: list[Y] = []
            with self._exclusive():
                for part in [[item] for item in batch] if single else [batch]:
                    done += self._retried(step, work, part, origin_of, retry)
            return done

        return marked

    def answered(self, origin: Origin | None) -> None:
        """Note that an answer of this record was passed to the sinks. Cheap when the record is not a candidate."""
        if origin is not None and origin in self._candidates:
            with self._lock:
                self._answered.add(origin)

    def epoch_over(self) -> None:
        """Drop the candidates that were answered before the epoch that ends now began.

        One epoch late, because answers of the epoch that ends now may not have reached the other sinks yet. Never raises:
        a candidate that cannot be dropped is only counted longer.
        """
        if not self._candidates:
            return
        with self._lock:
            gone, self._answered_before, self._answered = self._answered_before, self._answered, set()
            if not gone or self._store is None:
                return
            for origin in gone:
                self._candidates.pop(origin, None)
            try:
                self._store.keep(tuple(self._candidates.values()))
            except DagManagerError as failed:
                logger.warning("poison candidates cannot be dropped: %s", failed)

    def _retried(
        self,
        step: str,
        work: Callable[[list[X]], list[Y]],
        batch: list[X],
        origin_of: Callable[[X], Origin | None],
        retry: Callable[[Callable[[], list[Y]]], list[Y]],
    ) -> list[Y]:
        origins = tuple(origin for item in batch if (origin := origin_of(item)) is not None)
        outage = False

        def once() -> list[Y]:
            nonlocal outage
            try:
                return work(batch) if outage else self._marked(step, work, batch, origins)
            except UnavailableError:
                outage = True  # a kill during the tries that follow counts for no record
                raise

        return retry(once)

    def _marked(self, step: str, work: Callable[[X], Y], given: X, origins: Sequence[Origin]) -> Y:
        marker = self._marker()
        marker.mark(step, origins)
        try:
            result = work(given)
        except (DagManagerError, OSError) as failed:
            # These failures are not the record's. Any other exception may be, and so may a statement that a store refuses.
            if not isinstance(failed, StoreRefusedError):
                marker.clear()
            raise
        marker.clear()
        return result

    def _marker(self) -> InFlightMarker:
        marker: InFlightMarker | None = getattr(self._thread, "marker", None)
        if marker is None:
            if self._store is None:
                msg = "no marker before begin()"
                raise AssertionError(msg)
            marker = self._thread.marker = self._store.marker()
        return marker

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One thread at a time: a record in flight in another thread would be counted at each death, too."""
        with self._lock:
            yield


def origin_of(item: FlowItem) -> Origin:
    """The origin of an item's record."""
    if isinstance(item, Record):
        return item.origin
    if isinstance(item, Submission | Canonicalized | Refused):
        return item.record.origin
    return item.submission.record.origin


def _deaths(candidate: PoisonCandidate) -> str:
    times = "once" if candidate.attempts == 1 else f"{candidate.attempts} times"
    return f"the process died {times} while it handled this record (the last time in step {candidate.step})"


def _name(origin: Origin) -> str:
    return f"record {origin.position} of {origin.source}, partition {origin.partition}"
