"""The last reading of the graph's epoch, holder counters and clock, at most `MAX_AGE_S` old.

Cached answers and cached nodes are valid at one epoch (docs/semantics.md 7). Reading the epoch for every
micro-batch would cost a round trip, so a reading is used again for `MAX_AGE_S`. Other processes' writes therefore
take effect here up to `MAX_AGE_S` late; a process that deletes a topic has to wait longer than that after raising the epoch.
Own writes take effect at once: each one invalidates the reading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dagmanager.engine.caches.holder_counters import COUNTERS
from dagmanager.engine.model.graph_port import EpochReading, Graph

MAX_AGE_S: Final = 0.2
# No use of the reading for this long: reading ahead of time is a waste.
IDLE_AFTER_S: Final = 10 * MAX_AGE_S


@dataclass
class EpochCache:
    """The newest reading of this process. Safe between threads; `clock` counts seconds, monotonic."""

    graph: Graph
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, EpochReading] | None = None
    _used_s: float | None = None
    _writes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fresh(self) -> EpochReading:
        """A reading at most `MAX_AGE_S` old and later than every `invalidate`.

        Blocks for one read of the graph when there is none, and then raises `UnavailableError` like any read.
        `now_ms` is the store's clock at the reading plus the time since.
        """
        self._used_s = self.clock()
        last = self._last
        if last is None or self._used_s - last[0] > MAX_AGE_S:
            last = self.read()
        began_s, reading = last
        elapsed_ms = int((self.clock() - began_s) * 1_000)
        return EpochReading(reading.epoch, reading.counters, reading.now_ms + max(elapsed_ms, 0))

    def invalidate(self) -> None:
        """Drop the reading: this process wrote something that may change it."""
        with self._lock:
            self._last = None
            self._writes += 1

    def is_wanted(self) -> bool:
        """Whether `fresh` was called in the last `IDLE_AFTER_S`, so that reading ahead of time pays off."""
        return self._used_s is not None and self.clock() - self._used_s < IDLE_AFTER_S

    def read(self) -> tuple[float, EpochReading]:
        """Read the graph now, so that the next `fresh` need not; the clock before the read, and the reading.

        Blocks for one read; raises `UnavailableError`.
        """
        writes, began_s = self._writes, self.clock()
        found = began_s, self.graph.epoch_reading(COUNTERS)
        with self._lock:
            # A write of this process since then may have been committed after the graph was read: such a reading
            # must not be cached, or this process would not see its own write for MAX_AGE_S.
            if writes == self._writes:
                self._last = found
        return found
