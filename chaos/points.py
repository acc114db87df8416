"""Named points between two effects, and a fuse that kills its own process at one of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

# What the issue calls a point, and every place of ours that belongs to it (chaos/ports.py names them).
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
NAMED_IN_ISSUE: Final = ("source read", "claim", "create", "verify", "activate", "emit", "snapshot")
RANDOM: Final = "random instant"


class Charge(msgspec.Struct, frozen=True):
    """Kill at the `nth` passing of `point`; at a random instant, from outside, when it names none."""

    point: str = ""
    nth: int = 1

    @property
    def name(self) -> str:
        """As the table calls it."""
        return self.point or RANDOM


class Fuse:
    """Passed by every thread of the process that it ends."""

    def __init__(self, charge: Charge, armed: Callable[[], bool]) -> None:
        """Passings count only while it is armed; never burns when the charge names no point."""
        self._charge = charge
        self._armed = armed
        self._left = charge.nth
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        """Pass a point; nobody comes back from the last one."""
        if point != self._charge.point:
            return
        with self._lock:
            if self._armed():
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
