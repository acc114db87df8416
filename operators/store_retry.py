"""Waiting for the world: an outage is no poison, the flow waits, says so, and goes on by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from dagmanager.errors import UnavailableError

T = TypeVar("T")
logger = logging.getLogger("dagmanager.flow")

FIRST_S: Final = 0.25
LONGEST_S: Final = 5.0


def _unheard(step: str, reason: str) -> None:
    """Nobody asks."""


@dataclass(frozen=True)
class RetryPolicy:
    """Calls again until a store is back. `stopping` ends the wait: the item is replayed later.

    `tell` hears which step waits and why, and, without a reason, that it waits no more.
    """

    sleep: Callable[[float], object]
    stopping: Callable[[], bool]
    tell: Callable[[str, str], None] = _unheard
    step: str = "start"

    def in_step(self, step: str) -> RetryPolicy:
        """The same, for the step whose name it tells."""
        return replace(self, step=step)

    def __call__(self, call: Callable[[], T]) -> T:
        """The call's result; `UnavailableError` only when stopping."""
        pause_s = FIRST_S
        waiting = False
        try:
            while True:
                try:
                    result = call()
                except UnavailableError as away:
                    if self.stopping():
                        raise
                    if not waiting:
                        self.tell(self.step, str(away))  # first: from then on a kill is nobody's fault
                    # Once: an outage may last for days of tries, and the reason is in the heartbeat's text, too.
                    logger.log(
                        logging.DEBUG if waiting else logging.WARNING,
                        "%s: waiting for a store (%s), next try in %.2f s",
                        self.step,
                        away,
                        pause_s,
                    )
                    waiting = True
                    self.sleep(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_S)
                else:
                    if waiting:
                        logger.info("%s: the store is back", self.step)
                    return result
        finally:
            if waiting:
                self.tell(self.step, "")
