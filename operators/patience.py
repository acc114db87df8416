"""Waiting for the world: an outage is no poison, the flow waits and goes on by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from dagmanager.errors import UnavailableError

T = TypeVar("T")
logger = logging.getLogger("dagmanager.flow")

FIRST_S: Final = 0.25
LONGEST_S: Final = 5.0


@dataclass(frozen=True)
class Patience:
    """Calls again until a store is back. `stopping` ends the wait: the item is replayed later."""

    sleep: Callable[[float], object]
    stopping: Callable[[], bool]

    def __call__(self, call: Callable[[], T]) -> T:
        """The call's result; `UnavailableError` only when stopping."""
        pause_s = FIRST_S
        while True:
            try:
                return call()
            except UnavailableError as away:
                if self.stopping():
                    raise
                logger.warning("waiting for a store (%s), next try in %.2f s", away, pause_s)
                self.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_S)
