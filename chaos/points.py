"""Named points between two effects, and a switch that kills its own process at one of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

# Groups of points, with the points of chaos/ports.py that belong to each.
# `inside`: the transaction is written and not committed.
POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "source read": ("source read",),
    "lookup": ("lookup after",),
    "claim": ("claim", "claim inside", "claim after"),
    "begin": ("begin inside", "begin after"),
    "create": ("create", "create after"),
    "verify": ("verify", "verify after"),
    "log": ("log", "log after"),
    "activate": ("activate", "activate inside", "activate after"),
    "publish": ("publish", "publish after"),
    "emit": ("emit", "emit after"),
    "bury": ("bury", "bury after"),
    "snapshot": ("snapshot", "snapshot after"),
}
REQUIRED_POINTS: Final = ("source read", "claim", "create", "verify", "activate", "emit", "snapshot")
RANDOM: Final = "random instant"


class PlannedKill(msgspec.Struct, frozen=True):
    """Kill at the `nth` passing of `point`; without a point, from outside at a random instant."""

    point: str = ""
    nth: int = 1

    @property
    def name(self) -> str:
        """The name in the report."""
        return self.point or RANDOM


class KillSwitch:
    """Called by every thread of the process that it kills. Safe between threads."""

    def __init__(self, kill_plan: PlannedKill, armed: Callable[[], bool]) -> None:
        """Passings count only while `armed` returns True; without a point it never kills."""
        self._charge = kill_plan
        self._armed = armed
        self._left = kill_plan.nth
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        """Pass a point; does not return from the last one."""
        if point != self._charge.point:
            return
        with self._lock:
            if self._armed():
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
