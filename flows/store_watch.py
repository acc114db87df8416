"""Notices a graph server that hangs: it accepts connections and answers nothing, for minutes.

The driver notices late, because its pooled connections have no read time limit of their own. So a thread opens a new connection
every few seconds and reports when no answer comes. Kafka needs no such thread: each of its requests has a time limit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dagmanager.engine.model.observer import Observer
from dagmanager.errors import DagManagerError

logger = logging.getLogger("dagmanager.flow")

# An outage is noticed within both together, and must be in the heartbeat file within 15 s.
EVERY_S: Final = 4.0
ANSWER_WITHIN_S: Final = 5.0
STEP: Final = "graph"
Ping = Callable[[float], None]


@contextmanager
def watched(
    ping: Ping | None,
    observer: Callable[[], Observer],
    every_s: float = EVERY_S,
    within_s: float = ANSWER_WITHIN_S,
) -> Iterator[None]:
    """Within the block `ping` is called every few seconds with a time limit in seconds; it raises `DagManagerError` when
    the server does not answer.

    Begin and end of an outage are logged and passed to the observer. The end of the block does not wait for a ping.
    """
    if ping is None:
        yield
        return
    over = threading.Event()

    def repeat() -> None:
        waiting = ""
        while not over.wait(every_s):
            failure = _failure(ping, within_s)
            if over.is_set():
                break
            if bool(failure) != bool(waiting):
                observer().waiting(STEP, failure)
                if failure:
                    logger.warning("the graph does not answer: %s", failure)
                else:
                    logger.info("the graph answers again")
            waiting = failure
        if waiting:
            observer().waiting(STEP, "")

    threading.Thread(target=repeat, name="store watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _failure(ping: Ping, within_s: float) -> str:
    """Why the server does not answer, or `""`. A defect of the driver must not end the watch."""
    try:
        ping(within_s)
    except DagManagerError as failed:
        return str(failed)
    except Exception as failed:  # noqa: BLE001 - it becomes the reason
        return f"{type(failed).__name__}: {failed}"
    return ""
