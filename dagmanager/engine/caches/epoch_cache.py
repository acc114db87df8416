"""How old a reading of the graph may be: remembered answers are good at one epoch (docs/semantics.md 7).

Whoever drops a topic waits longer than `AGE_S` after raising the epoch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dagmanager.engine.caches.holder_counters import COUNTERS
from dagmanager.engine.model.graph_port import EpochReading, Graph

AGE_S: Final = 0.2


@dataclass
class EpochCache:
    """The graph's newest pulse that this process knows. Safe between threads; `clock` in seconds, monotonic."""

    graph: Graph
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, EpochReading] | None = None
    _asked_s: float | None = None
    _writes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fresh(self) -> EpochReading:
        """At most `AGE_S` old, and read after every `forget`; asks the graph when there is none.

        `now_ms` is the store's clock, carried on. Raises `UnavailableError` like any read.
        """
        self._asked_s = self.clock()
        known = self._last
        if known is None or self._asked_s - known[0] > AGE_S:
            known = self.read()
        began_s, pulse = known
        elapsed_ms = int((self.clock() - began_s) * 1_000)
        return EpochReading(pulse.epoch, pulse.counters, pulse.now_ms + max(elapsed_ms, 0))

    def forget(self) -> None:
        """This process wrote what may change a pulse."""
        with self._lock:
            self._last = None
            self._writes += 1

    def is_wanted(self) -> bool:
        """Whether somebody asked lately, so that a reading ahead of time is of use."""
        return self._asked_s is not None and self.clock() - self._asked_s < 10 * AGE_S

    def read(self) -> tuple[float, EpochReading]:
        """Ask the graph; ahead of time, so that `fresh` need not wait."""
        writes, began_s = self._writes, self.clock()
        found = began_s, self.graph.epoch_reading(COUNTERS)
        with self._lock:
            if writes == self._writes:  # else it may have been read before our own write
                self._last = found
        return found
