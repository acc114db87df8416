"""The order of results within a strategy and within a lineage, over all shards of a process.

Results of unrelated strategies may overtake each other, those of one strategy never: a client that reads its answers in
order must see the newest last. The same holds within a lineage, where a later version replaces an earlier one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable


class ResultOrder:
    """For each key, the items that have arrived and not left, in order of arrival. Safe between threads; never blocks.

    Shared by all workers of a process, because two strategies of one lineage may be in different shards. Its memory is
    that of the items in progress: a key without items has no entry.
    """

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._queues: dict[str, deque[object]] = {}
        self._lock = threading.Lock()

    def is_free(self, keys: Iterable[str]) -> bool:
        """Whether no item waits under any of these keys."""
        with self._lock:
            return not any(key in self._queues for key in keys)

    def arrive(self, item: object, keys: Iterable[str]) -> None:
        """Append the item to the queue of each of its keys. An item arrives once."""
        with self._lock:
            for key in keys:
                self._queues.setdefault(key, deque()).append(item)

    def is_first(self, item: object, keys: Iterable[str]) -> bool:
        """Whether no earlier item waits under any of its keys. `KeyError` for an item that did not arrive, or has left."""
        with self._lock:
            return all(self._queues[key][0] is item for key in keys)

    def leave(self, item: object, keys: Iterable[str]) -> None:
        """Remove the item from its queues: it was emitted. At the end of the input that need not be the first one."""
        with self._lock:
            for key in keys:
                self._queues[key].remove(item)
                if not self._queues[key]:
                    del self._queues[key]
