"""What was found lately, kept within bounds: the one kind of cache that this package has."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Bounded by entries and by their sizes together; the oldest goes first. Safe between threads."""

    def __init__(self, size_max: int, entries_max: int) -> None:
        """Empty. What a size counts is the caller's to say."""
        self._size_max, self._entries_max = size_max, entries_max
        self._size = 0
        self._kept: dict[K, tuple[int, V]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many entries are kept."""
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """What is kept under this key."""
        found = self._kept.get(key)
        return None if found is None else found[1]

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep it, unless something is kept under this key, or it is larger than all the room."""
        with self._lock:
            if size > self._size_max or key in self._kept:
                return
            self._kept[key] = (size, value)
            self._size += size
            while self._size > self._size_max or len(self._kept) > self._entries_max:
                self._drop(next(iter(self._kept)))

    def forget(self, key: K) -> None:
        """It is not so any more; absent ones are fine."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: K) -> None:
        size, _ = self._kept.pop(key, (0, None))
        self._size -= size
