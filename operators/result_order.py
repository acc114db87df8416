"""The order of results within a strategy and a lineage, over all shards of a process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable


class ResultOrder:
    """For each key, what has arrived and not left, in order. Safe between threads; empty when nothing is in progress."""

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._queues: dict[str, deque[object]] = {}
        self._lock = threading.Lock()

    def is_free(self, keys: Iterable[str]) -> bool:
        """Whether nothing waits under any of these keys."""
        with self._lock:
            return not any(key in self._queues for key in keys)

    def arrive(self, item: object, keys: Iterable[str]) -> None:
        """Queue it under each of its keys."""
        with self._lock:
            for key in keys:
                self._queues.setdefault(key, deque()).append(item)

    def is_first(self, item: object, keys: Iterable[str]) -> bool:
        """Whether nothing that arrived before it waits under any of its keys."""
        with self._lock:
            return all(self._queues[key][0] is item for key in keys)

    def leave(self, item: object, keys: Iterable[str]) -> None:
        """It was emitted, first or not."""
        with self._lock:
            for key in keys:
                self._queues[key].remove(item)
                if not self._queues[key]:
                    del self._queues[key]
