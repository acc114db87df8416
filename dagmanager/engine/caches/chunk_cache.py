"""Encoded chunk bodies and items digest, cached per tuple of items and found by the identity of that tuple.

Encoding is most of the work of an answer of 1,000 nodes. Answers from the answer cache share one tuple of items, so
its encoding serves every requester. Comparing tuples by value would cost as much as encoding them.
"""

from __future__ import annotations

from typing import Final

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.outcome import Items, Outcome
from dagmanager.engine.wire.chunk_items import EncodedItems, encode_items

# A body takes some 200 bytes an item: 20 MB at most.
ITEMS_MAX: Final = 100_000
ANSWERS_MAX: Final = 10_000


class ChunkCache:
    """Encoded items of answers that reuse every node, the oldest dropped first. Safe between threads."""

    def __init__(self, items_max: int = ITEMS_MAX, answers_max: int = ANSWERS_MAX) -> None:
        """Start empty."""
        # An id is reused after its object died: each entry keeps its tuple alive, so that no other gets its id.
        self._cache: BoundedCache[int, tuple[Items, EncodedItems]] = BoundedCache(items_max, answers_max)

    def encode(self, outcome: Outcome) -> EncodedItems:
        """The same as `encode_items`, from the cache when possible."""
        items = outcome.items
        found = self._cache.get(id(items))
        if found is not None and not outcome.buffers:
            return found[1]
        encoded = encode_items(outcome)
        # Only such answers come from the answer cache; others are sent once.
        if outcome.actions.reuse == len(items):
            self._cache.put(id(items), (items, encoded), len(items))
        return encoded
