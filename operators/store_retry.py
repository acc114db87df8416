"""Retry of what an unreachable store fails: the flow waits, reports it, and resumes by itself. There is no limit of tries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from dagmanager.backoff import Backoff
from dagmanager.errors import UnavailableError

T = TypeVar("T")
logger = logging.getLogger("dagmanager.flow")

# Of the longest pause a part is drawn at random: the flows of many hosts lose the same server at the same moment.
STORE_BACKOFF: Final = Backoff(first_s=0.25, factor=2, longest_s=5.0, jitter=0.2)


def ignore(*_: object) -> None:
    """For waits that are not observed."""


@dataclass(frozen=True)
class RetryPolicy:
    """Calls again while a store is unreachable: after 0.25 s, doubling up to 5 s, until `stopping` says so.

    `sleep` blocks for the seconds given, or shorter when the run is to stop. `observe` is called with the step and the
    reason when a wait begins, and with the step and an empty reason when it ends.
    """

    sleep: Callable[[float], object]
    stopping: Callable[[], bool]
    observe: Callable[[str, str], None] = ignore
    step: str = "start"
    backoff: Backoff = STORE_BACKOFF

    def in_step(self, step: str) -> RetryPolicy:
        """The same policy, reporting as this step."""
        return replace(self, step=step)

    def __call__(self, call: Callable[[], T]) -> T:
        """The call's result. `UnavailableError` only when stopping: what was in flight is replayed later."""
        pauses = self.backoff.pauses()
        waiting = False
        try:
            while True:
                try:
                    result = call()
                except UnavailableError as outage:
                    if self.stopping():
                        raise
                    if not waiting:
                        self.observe(
                            self.step, str(outage)
                        )  # first: a kill counts for no record from here on
                    pause_s = next(pauses)
                    # One warning per outage: it may last for days, and the heartbeat has the reason, too.
                    logger.log(
                        logging.DEBUG if waiting else logging.WARNING,
                        "%s: waiting for a store (%s), next try in %.2f s",
                        self.step,
                        outage,
                        pause_s,
                    )
                    waiting = True
                    self.sleep(pause_s)
                else:
                    if waiting:
                        logger.info("%s: the store is reachable again", self.step)
                    return result
        finally:
            if waiting:
                self.observe(self.step, "")
