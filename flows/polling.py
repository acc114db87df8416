"""The poll beside a running flow: abandoned claims are finished, waiting events leave (decisions 5).

Every process polls. Which of them takes an overdue claim over is decided by compare-and-set.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagmanager.engine.engine import Engine
from dagmanager.errors import DagManagerError

logger = logging.getLogger("dagmanager.flow")


@contextmanager
def poll(
    engine: Engine, seconds: float, stopping: threading.Event, heartbeat: Path | None = None
) -> Iterator[None]:
    """Poll every so many seconds until the block ends or the run is stopped.

    `heartbeat` is touched before the first round and after each: a round waits for the engine, so a
    flow that hangs in a store lets it grow old.
    """
    over = threading.Event()

    def work() -> None:
        _touch(heartbeat)
        while not over.wait(seconds) and not stopping.is_set():
            poll_once(engine)
            _touch(heartbeat)

    thread = threading.Thread(target=work, name="poll", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=seconds)


def poll_once(engine: Engine) -> int:
    """One round; how many claims were finished. A store that is away is tried again next time."""
    try:
        finished = engine.finish_overdue()
        engine.publish()
    except DagManagerError as away:
        logger.warning("the poll found a store away: %s", away)
        return 0
    if finished:
        logger.info("finished %d claims that others had left behind", finished)
    return finished


def _touch(heartbeat: Path | None) -> None:
    if heartbeat is None:
        return
    try:
        heartbeat.touch()
    except OSError as error:
        logger.warning("the heartbeat cannot be written: %s", error)
