"""Finishes claims outside of the flow: topics are created while the worker answers submissions that need none.

One thread per flow, which exists only while claims are in progress. Each pass takes everything that is queued, so that
topics are created in bulk. It never waits for rivals: claims that joined a rival's queue are checked again in the next
pass (`Engine.advance`). A wait would block the claims that rivals wait for, in turn (docs/semantics.md 6).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dagmanager.backoff import Backoff
from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.dag.record.record_key import strategy_of
from dagmanager.engine.engine import Engine
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Answer, InProgress, Refused
from dagmanager.errors import ErrorCode, Rejection
from operators.result_order import BYTES_MAX, ITEMS_MAX
from operators.step_guard import StepGuard

# The pauses after passes that finished nothing: rivals provision for milliseconds to seconds.
# They do not grow, because later results of a claim's strategy and lineage wait behind it.
PAUSE: Final = Backoff(first_s=0.020, factor=1.0, longest_s=0.020, jitter=0.5)
# What markers, logs and waits call claims and their completion: for the user both are one step.
GUARDED_AS: Final = "upsert"


@dataclass(frozen=True)
class Unread:
    """Only the record is known, as after a restart: it is read, planned and claimed again, as a replay."""


@dataclass(frozen=True)
class Done:
    """What leaves the step `finish`. No results for a submission whose record's one refusal another item carries."""

    results: tuple[Answer | Refused, ...]


# What is known of an item, in the order in which it may become known. A claim that was used for one `advance` is a
# submission again when that fails.
Progress = Unread | Submission | InProgress | Done


class PendingResult:
    """One submission (or refusal) of a record, until its results leave the step `finish`.

    `keys` are its strategy and lineage, as `ResultOrder` takes them. `submission_id` identifies it among the submissions
    of its record; it is empty for a refusal, which `worlds` identifies.

    `progress` is the only part that changes. Only the finisher sets it; workers read it without a lock, because each
    value is immutable and `Done` is the last one.
    """

    def __init__(
        self,
        record: Record,
        keys: tuple[str, ...],
        progress: Progress,
        submission_id: str = "",
        worlds: tuple[str, ...] = (),
    ) -> None:
        """`progress` is `Unread` only if the record comes from the recovery store."""
        self.record = record
        self.keys = keys
        self.progress = progress
        self.submission_id = submission_id
        self.worlds = worlds

    @property
    def origin(self) -> Origin:
        """Where the record came from."""
        return self.record.origin

    @property
    def size(self) -> int:
        """Bytes of the record's value."""
        return len(self.record.value)

    @property
    def is_done(self) -> bool:
        """Whether the results are set."""
        return isinstance(self.progress, Done)


class Finisher:
    """Sets the results of pending submissions. Safe between threads.

    With `background` it works in a thread of its own. Without, `put` does the work in the calling thread: embedded topics
    are created at once, so that a thread would gain nothing.
    """

    def __init__(self, engine: Engine, reader: Reader, guard: StepGuard, *, background: bool) -> None:
        """Start no thread yet. In-flight markers, logs and waits name the step `upsert`."""
        self._engine = engine
        self._reader = reader
        self._quarantine = guard.quarantine
        self._background = background
        self._work = guard.batch_work(GUARDED_AS, self._pass, lambda each: each.origin)
        self._open: list[PendingResult] = []
        self._running = False
        self._serial = threading.Lock()
        # Only the thread that runs passes uses this, so that it needs no lock.
        self._quarantined: set[Origin] = set()
        self._failed: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, given: Sequence[PendingResult]) -> None:
        """Queue these for the next pass, which takes them in this order after those that were put before.

        Blocks while more than `ITEMS_MAX` items or `BYTES_MAX` bytes have no result, which bounds what was read before the
        input stopped (`ResultOrder.has_room`); without `background` until all have results. Never waits for results to
        leave: the calling worker emits them. Raises as `wait`.
        """
        if not given:
            return
        with self._changed:
            self._open += given
            start = not self._running
            # `_batch` clears this under the same lock when nothing is left, so that no item is put to a thread that ends.
            self._running = True
        if not self._background:
            with self._serial:  # another worker may be finishing these already
                self._run()
        elif start:
            threading.Thread(target=self._run, name="finisher", daemon=True).start()
        self.wait(self._has_room)

    def wait(self, until: Callable[[], bool]) -> None:
        """Block until `until` returns true, without a time limit; it is called under a lock, and again after each pass.

        Raises the exception that ended the finisher, in every thread that calls: `UnavailableError` when the run was
        stopped during an outage, anything else for a defect.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None or until())
            if self._failed is not None:
                raise self._failed

    def _has_room(self) -> bool:
        return len(self._open) <= ITEMS_MAX and sum(each.size for each in self._open) <= BYTES_MAX

    def _run(self) -> None:
        pauses = PAUSE.pauses()
        try:
            while batch := self._batch():
                self._work(batch)
                # Results are set without the lock; `wait` looks under it, so that no waiter misses this notification.
                with self._changed:
                    finished = any(each.is_done for each in batch)
                    self._open = [each for each in self._open if not each.is_done]
                    self._changed.notify_all()
                if not finished:
                    self._engine.sleep(next(pauses))
        except BaseException as failed:  # noqa: BLE001 - it is raised in the flow's thread, whatever it is
            with self._changed:
                self._failed = failed
                self._changed.notify_all()

    def _batch(self) -> list[PendingResult]:
        with self._changed:
            self._running = bool(self._open)
            return list(self._open)

    def _pass(self, batch: list[PendingResult]) -> list[None]:
        """Claim what has no claim yet, then advance all claims by one step. The retry calls it again after an outage.

        A claim is used for one `advance` only: it may have been changed or taken over when that fails in the middle. The
        retry plans and claims the submission again, as a replay, which finds what was stored.
        """
        fresh = [(each, found) for each in batch if (found := self._unclaimed(each)) is not None]
        planned = self._engine.plan([submission for _, submission in fresh])
        for (each, _), claimed in zip(fresh, self._engine.claim(planned), strict=True):
            each.progress = _after(claimed)
        taken = [(each, each.progress) for each in batch if isinstance(each.progress, InProgress)]
        # Before the call, because a failure in the middle of it leaves no other chance: the claim is then used up.
        for each, claim in taken:
            each.progress = claim.submission
        advanced = self._engine.advance([claim for _, claim in taken]) if taken else []
        for (each, _), next_ in zip(taken, advanced, strict=True):
            each.progress = _after(next_)
        return []

    def _unclaimed(self, each: PendingResult) -> Submission | None:
        """The submission that has no claim yet. Reads the record of an earlier process first; a refusal is a result."""
        if isinstance(each.progress, Unread):
            each.progress = self._read(each)
        return each.progress if isinstance(each.progress, Submission) else None

    def _read(self, each: PendingResult) -> Submission | Done:
        refused = self._quarantine.refusal_of(each.record)
        if refused is not None:
            # A record in quarantine gets one refusal, however many submissions it had.
            first = each.origin not in self._quarantined
            self._quarantined.add(each.origin)
            return Done((self._reader.noted(refused),) if first else ())
        for item in self._reader.read(each.record):
            if isinstance(item, Submission) and item.submission_id == each.submission_id:
                return item
            if isinstance(item, Refused) and item.worlds == each.worlds:
                return Done((item,))
        return Done((self._reader.noted(_read_otherwise(each)),))


def _after(found: Answer | InProgress) -> InProgress | Done:
    return found if isinstance(found, InProgress) else Done((found,))


def _read_otherwise(each: PendingResult) -> Refused:
    """The refusal of a submission that its record no longer contains: this run reads records with other settings."""
    message = "this record was read with other settings before a restart; submit it again"
    return Refused(each.record, strategy_of(each.record), Rejection(ErrorCode.EXPIRED, message))
