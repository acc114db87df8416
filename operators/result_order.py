"""What is in progress between claim and emit, over all shards of a process: its order, and how much of it there may be.

Results of unrelated strategies may overtake each other, those of one strategy never: a client that reads its answers in
order must see the newest last. The same holds within a lineage, where a later version replaces an earlier one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final, Generic, Protocol, TypeVar

# How much may be in progress before the flow stops reading: every snapshot contains these records, and every restart
# claims them again. The bytes are those of the records' values.
ITEMS_MAX: Final = 500
BYTES_MAX: Final = 16 * 1024 * 1024


class OrderedItem(Protocol):
    """What is put in order: hashable by identity."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Items that share a key leave in order of arrival. The keys of an item never change."""
        ...

    @property
    def size(self) -> int:
        """In bytes; it never changes."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether it may leave when it is the first one; once true it stays true."""
        ...


T = TypeVar("T", bound=OrderedItem)


class ResultOrder(Generic[T]):
    """The items that have arrived and not left. Safe between threads; never blocks.

    Shared by all workers of a process, because two strategies of one lineage may be in different shards. A key or shard
    without items has no entry. Arriving and leaving cost the same however many items wait.
    """

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._queues: dict[str, OrderedDict[T, None]] = {}
        # Of each item: its shard, and under how many of its keys an earlier item waits.
        self._shards: dict[T, Hashable] = {}
        self._behind: dict[T, int] = {}
        # Of each shard: the items that wait for no other, and so may leave when they are done. Per shard, because an item
        # must be emitted by the worker that has its state: another one would leave it in the snapshot.
        self._first: dict[Hashable, dict[T, None]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def has_room(self) -> bool:
        """Whether less than `ITEMS_MAX` items and `BYTES_MAX` bytes have arrived and not left.

        Only what brings new items may wait for this, never what lets items leave: it would wait for itself.
        """
        with self._lock:
            return len(self._shards) < ITEMS_MAX and self._bytes < BYTES_MAX

    def is_free(self, keys: Iterable[str]) -> bool:
        """Whether no item waits under any of these keys."""
        with self._lock:
            return not any(key in self._queues for key in keys)

    def arrive(self, item: T, shard: Hashable) -> None:
        """Append the item to the queue of each of its keys. An item arrives once; `take_ready` of its shard returns it."""
        with self._lock:
            behind = sum(key in self._queues for key in item.keys)
            for key in item.keys:
                self._queues.setdefault(key, OrderedDict())[item] = None
            self._shards[item], self._behind[item] = shard, behind
            self._bytes += item.size
            if not behind:
                self._first.setdefault(shard, {})[item] = None

    def take_ready(self, shard: Hashable) -> list[T]:
        """Remove the items of this shard that are done and wait for no earlier one, in order.

        Items of other shards that waited for them are returned by the next call for their own shard.
        """
        taken: list[T] = []
        with self._lock:
            heads = list(self._first.get(shard, ()))
            while heads:
                following: list[T] = []
                for each in heads:
                    if each.is_done:
                        following += [item for item in self._remove(each) if self._shards[item] == shard]
                        taken.append(each)
                heads = following
        return taken

    def leave(self, item: T) -> None:
        """Remove the item, also when earlier ones wait: at the end of the input. `KeyError` when it has left already."""
        with self._lock:
            self._remove(item)

    def _remove(self, item: T) -> list[T]:
        """The items that wait for no other from now on."""
        shard = self._shards.pop(item)
        first = self._first.get(shard, {})
        if not self._behind.pop(item):
            del first[item]
            if not first:
                del self._first[shard]
        self._bytes -= item.size
        freed: list[T] = []
        for key in item.keys:
            queue = self._queues[key]
            was_first = next(iter(queue)) is item
            del queue[item]
            if not queue:
                del self._queues[key]
            elif was_first:
                following = next(iter(queue))
                self._behind[following] -= 1
                if not self._behind[following]:
                    self._first.setdefault(self._shards[following], {})[following] = None
                    freed.append(following)
        return freed
