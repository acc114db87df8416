"""Finishes claims beside the flow: topics are created while the worker answers what needs none.

One thread per flow, which lives only while something is in progress. Each pass takes everything that is queued, so
that topics are created in bulk, and never waits for rivals: what joined their queues is looked at again in the next
pass (`Engine.advance`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from dagmanager.dag.model import Origin, Record, Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.reader import Reader, strategy_of
from dagmanager.engine.stages import Answer, InProgress, Refused
from dagmanager.errors import ErrorCode, Rejection
from operators.step_guard import StepGuard

# How long a pass that finished nothing pauses, in seconds: rivals provision for milliseconds to seconds.
PAUSE_S: Final = 0.020
# What may be in progress before the flow waits. Bytes are those of the records, which every snapshot holds.
ITEMS_MAX: Final = 500
BYTES_MAX: Final = 16 * 1024 * 1024


class PendingResult:
    """One submission, or one refusal, of a record that is in progress; `results` is set once, by the finisher.

    `keys` are its strategy and lineage. `submission_id` names it among the submissions of its record, empty for a
    refusal, which `worlds` names then.
    """

    def __init__(
        self, record: Record, keys: tuple[str, ...], submission_id: str = "", worlds: tuple[str, ...] = ()
    ) -> None:
        """Nothing is known but the record: it is read, planned and claimed again, as a replay."""
        self.record = record
        self.keys = keys
        self.submission_id = submission_id
        self.worlds = worlds
        self.submission: Submission | None = None
        self.claim: InProgress | None = None
        self.results: tuple[Answer | Refused, ...] | None = None

    @property
    def origin(self) -> Origin:
        """Where the record came from."""
        return self.record.origin


class Finisher:
    """Brings what is pending to its results. Safe between threads.

    Without `background` it works in the calling thread: where no broker is waited for, a thread gains nothing.
    """

    def __init__(self, engine: Engine, reader: Reader, guard: StepGuard, *, background: bool) -> None:
        """Starts nothing yet."""
        self._engine = engine
        self._reader = reader
        self._quarantine = guard.quarantine
        self._background = background
        retry = guard.retry.in_step("upsert")
        self._work = guard.quarantine.batches("upsert", self._pass, lambda each: each.origin, retry)
        self._open: list[PendingResult] = []
        self._running = False
        self._serial = threading.Lock()
        self._quarantined: set[Origin] = set()
        self._failed: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, given: Sequence[PendingResult]) -> None:
        """Finish these after what was put before. Blocks while too much is in progress; raises as `wait`."""
        if not given:
            return
        with self._changed:
            self._open += given
            start = not self._running
            self._running = True
        if not self._background:
            with self._serial:  # another worker may be finishing these already
                self._run()
        elif start:
            threading.Thread(target=self._run, name="finisher", daemon=True).start()
        self.wait(self._has_room)

    def wait(self, until: Callable[[], bool]) -> None:
        """Block until this is so; it is asked again after each pass.

        Raises what ended the finisher: `UnavailableError` when the run was to stop during an outage, or a defect.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None or until())
            if self._failed is not None:
                raise self._failed

    def _has_room(self) -> bool:
        return (
            len(self._open) <= ITEMS_MAX and sum(len(each.record.value) for each in self._open) <= BYTES_MAX
        )

    def _run(self) -> None:
        try:
            while batch := self._batch():
                self._work(batch)
                with self._changed:
                    finished = any(each.results is not None for each in batch)
                    self._open = [each for each in self._open if each.results is None]
                    self._changed.notify_all()
                if not finished:
                    self._engine.sleep(PAUSE_S)
        except BaseException as failed:  # noqa: BLE001 - it is raised in the flow's thread, whatever it is
            with self._changed:
                self._failed = failed
                self._changed.notify_all()

    def _batch(self) -> list[PendingResult]:
        with self._changed:
            self._running = bool(self._open)
            return list(self._open)

    def _pass(self, batch: list[PendingResult]) -> list[None]:
        """One pass over these. A claim is used once: after an outage in the middle it is found again by a replay."""
        fresh = [each for each in batch if each.claim is None and self._readable(each)]
        planned = self._engine.plan([each.submission for each in fresh if each.submission is not None])
        for each, found in zip(fresh, self._engine.claim(planned), strict=True):
            _note(each, found)
        taken = [(each, each.claim) for each in batch if each.claim is not None]
        for each, _ in taken:
            each.claim = None
        advanced = self._engine.advance([claim for _, claim in taken]) if taken else []
        for (each, _), found in zip(taken, advanced, strict=True):
            _note(each, found)
        return []

    def _readable(self, each: PendingResult) -> bool:
        """Read the record of an earlier process again; a refusal is a result."""
        if each.results is None and each.submission is None:
            refused = self._quarantine.refusal_of(each.record)
            if refused is not None:
                each.results = () if each.origin in self._quarantined else (refused,)
                self._quarantined.add(each.origin)  # one refusal for all submissions of the record
                return False
            for item in self._reader.read(each.record):
                if isinstance(item, Submission) and item.submission_id == each.submission_id:
                    each.submission = item
                elif isinstance(item, Refused) and item.worlds == each.worlds:
                    each.results = (item,)
            if each.submission is None and each.results is None:
                each.results = (_read_otherwise(each),)
        return each.submission is not None and each.results is None


def _note(each: PendingResult, found: Answer | InProgress) -> None:
    if isinstance(found, InProgress):
        each.claim = found
    else:
        each.results = (found,)


def _read_otherwise(each: PendingResult) -> Refused:
    """The settings of this run give its record another meaning than those of the run that read it."""
    message = "this record was read with other settings before a restart; submit it again"
    return Refused(each.record, strategy_of(each.record), Rejection(ErrorCode.EXPIRED, message))
