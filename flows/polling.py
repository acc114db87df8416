"""The poll that runs next to a flow: publishes waiting events, finishes abandoned claims (docs/semantics.md 6), and
detects topics that the broker lost (docs/semantics.md 7).

Every process polls. Compare-and-set decides which of them takes over an overdue claim, or declares a topic lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dagmanager.engine.caches.epoch_cache import MAX_AGE_S
from dagmanager.engine.engine import Engine
from dagmanager.errors import DagManagerError
from flows.stop import Stop

logger = logging.getLogger("dagmanager.flow")

# A reading of the epoch is read again before it is too old, so that no submission has to wait for one.
READ_AHEAD_S: Final = 0.75 * MAX_AGE_S


@contextmanager
def poll(engine: Engine, seconds: float, stopping: Stop) -> Iterator[Callable[[], float]]:
    """Poll every `seconds` (more than 0), in a thread of its own, until the block ends or the run is stopped.

    Gives a function for how many seconds the running round has taken, 0 between rounds: a round that never ends would
    not be noticed otherwise. The end of the block waits for a running round, at most `seconds`. Raises nothing: a round
    that fails is logged and repeated.
    """
    over = threading.Event()
    began: list[float] = []

    def work() -> None:
        waiting = False
        _warm_up(engine, lambda: over.is_set() or stopping.is_set())
        due_s = time.monotonic() + seconds
        while not over.wait(min(READ_AHEAD_S, seconds)) and not stopping.is_set():
            if time.monotonic() < due_s:
                _read_ahead(engine)
                continue
            began.append(time.monotonic())
            failure = _round(engine)
            began.clear()
            if waiting != bool(failure):
                waiting = bool(failure)
                _log_change(failure)
                engine.observer.waiting("poll", failure)
            due_s = time.monotonic() + seconds

    thread = threading.Thread(target=work, name="poll", daemon=True)
    thread.start()

    def taken_s() -> float:
        return max((time.monotonic() - each for each in tuple(began)), default=0.0)

    try:
        yield taken_s
    finally:
        over.set()
        thread.join(timeout=seconds)


def _round(engine: Engine) -> str:
    """One round that never raises: after a defect the poll must continue, or events would wait for ever while the flow
    looks healthy."""
    try:
        return poll_once(engine)
    except Exception as defect:
        logger.exception("the poll failed and will run again; please report this")
        return f"{type(defect).__name__}: {defect}"


def _warm_up(engine: Engine, enough: Callable[[], bool]) -> None:
    """Run typical queries before submissions need them: the first ones of a server that has just started take seconds."""
    with suppress(DagManagerError):  # the first round reports what is unreachable
        engine.graph.warm_up(enough)


def _read_ahead(engine: Engine) -> None:
    """Read the epoch, so that no submission waits for it (docs/semantics.md 7)."""
    with suppress(DagManagerError):  # the step that needs the graph waits for it, and reports it
        engine.read_ahead()


def poll_once(engine: Engine) -> str:
    """One round: the reason why it failed, or `""`. Blocks for the stores' time limits; does not retry, as the next round
    does. Raises nothing but defects."""
    try:
        engine.publish()
    except DagManagerError as failure:
        return str(failure)
    # Each handles its own failure: a claim that cannot be finished must not prevent the check for lost topics, and a
    # failing broker must not prevent the publishing of events.
    watched, finished = _watch(engine), _finish(engine)
    return watched or finished


def _watch(engine: Engine) -> str:
    try:
        if engine.find_lost():
            engine.publish()
        for row in engine.find_changed():
            if row.drift:
                logger.warning(
                    "topic %s was changed at the broker: %s; it stays in use", row.topic, row.drift
                )
            else:
                logger.info("topic %s is at the broker as it was created again", row.topic)
    except DagManagerError as failure:
        return str(failure)
    return ""


def _finish(engine: Engine) -> str:
    try:
        finished = engine.finish_overdue()
        if finished:
            engine.publish()
    except DagManagerError as failure:
        return str(failure)
    if finished:
        logger.info("finished %d claims that other processes had abandoned", finished)
    return ""


def _log_change(failure: str) -> None:
    """Log once when an outage begins and once when it ends: it may last for hours of rounds."""
    if failure:
        logger.warning("the poll failed: %s; it is tried again", failure)
    else:
        logger.info("the poll works again")
