"""The poll beside a running flow: finishes abandoned claims, publishes waiting events (docs/semantics.md 6), and
detects topics that the broker lost.

Every process polls. Which of them takes an overdue claim over, or declares a topic lost, is decided by
compare-and-set.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dagmanager.disk.replace_file import replace_file
from dagmanager.engine.caches.epoch_cache import MAX_AGE_S
from dagmanager.engine.engine import Engine
from dagmanager.errors import DagManagerError
from flows.stop import Stop

logger = logging.getLogger("dagmanager.flow")

READ_AHEAD_S: Final = 0.75 * MAX_AGE_S


@contextmanager
def poll(
    engine: Engine, seconds: float, stopping: Stop, beat: Callable[[], None] | None = None
) -> Iterator[None]:
    """Poll every so many seconds, in a thread of its own, until the block ends or the run is stopped.

    `beat` is called before the first round and after each. A round waits for the engine, so the heartbeat of a flow
    that hangs in a store grows old.
    """
    over = threading.Event()
    beat = beat or _no_heartbeat

    def work() -> None:
        waiting = False
        beat()
        _warm_up(engine, lambda: over.is_set() or stopping.is_set())
        due_s = time.monotonic() + seconds
        while not over.wait(min(READ_AHEAD_S, seconds)) and not stopping.is_set():
            if time.monotonic() < due_s:
                _read_ahead(engine)
                continue
            away = _round(engine)
            if waiting != bool(away):
                waiting = bool(away)
                _say(away)
                engine.observer.waiting("poll", away)
            beat()
            due_s = time.monotonic() + seconds

    thread = threading.Thread(target=work, name="poll", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=seconds)


def _round(engine: Engine) -> str:
    """A defect in one round must not end the poll: events would wait for ever behind a flow that looks healthy."""
    try:
        return poll_once(engine)
    except Exception as defect:
        logger.exception("the poll failed and will run again; please report this")
        return f"{type(defect).__name__}: {defect}"


def _warm_up(engine: Engine, enough: Callable[[], bool]) -> None:
    """The first queries of a server that has just started take seconds: run them before submissions need them."""
    with suppress(DagManagerError):  # the first round reports what is unreachable
        engine.graph.warm_up(enough)


def _read_ahead(engine: Engine) -> None:
    """So that no submission waits for a reading of the epoch (docs/semantics.md 7)."""
    with suppress(DagManagerError):  # the step that needs the graph waits for it, and reports it
        engine.read_ahead()


def poll_once(engine: Engine) -> str:
    """One round; the reason why it failed, empty when it did not. It does not retry: the next round does."""
    try:
        engine.publish()
    except DagManagerError as away:
        return str(away)
    # Apart: a broker that fails must not keep events from leaving, nor a claim that cannot be finished the watch.
    watched, finished = _watch(engine), _finish(engine)
    return watched or finished


def _watch(engine: Engine) -> str:
    try:
        if engine.find_lost():
            engine.publish()
    except DagManagerError as away:
        return str(away)
    return ""


def _finish(engine: Engine) -> str:
    try:
        finished = engine.finish_overdue()
        if finished:
            engine.publish()
    except DagManagerError as away:
        return str(away)
    if finished:
        logger.info("finished %d claims that other processes had left behind", finished)
    return ""


def _say(away: str) -> None:
    """Once when an outage begins and once when it ends: it may last for hours of rounds."""
    if away:
        logger.warning("the poll failed: %s; it is tried again", away)
    else:
        logger.info("the poll works again")


class Heartbeat:
    """A file whose age says that the flow is alive, and whose text whether it works (`ok`) or waits for a store."""

    def __init__(self, path: Path, standing: Callable[[], str]) -> None:
        """`standing` gives the text. Nothing is written yet."""
        self._path = path
        self._standing = standing

    def __call__(self) -> None:
        """Replace the file in one step. It is also written during an outage: a restart would not end that."""
        try:
            # Not durable: its age means nothing after a power cut, and a slow disk must not stop the poll.
            replace_file(self._path, f"{self._standing()}\n".encode(), durable=False)
        except OSError as error:
            logger.warning("the heartbeat cannot be written: %s", error)


def _no_heartbeat() -> None:
    """For runs without `--heartbeat`."""
