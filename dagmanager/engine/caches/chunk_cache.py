"""Memoized chunk bodies and items digests, shared by all requesters of one tuple of items (found by identity).

For 1,000 nodes, encoding is most of the work of an answer. Cached answers hold the very same tuple of items.
"""

from __future__ import annotations

from typing import Final

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.outcome import Items, Outcome
from dagmanager.engine.wire.chunk_items import EncodedItems, encode_items

# A body has some 200 bytes an item.
KEPT_ITEMS: Final = 100_000
KEPT_ANSWERS: Final = 10_000


class ChunkCache:
    """Encoded items of answers that reuse every node, the oldest go first. Safe between threads."""

    def __init__(self, items_max: int = KEPT_ITEMS, answers_max: int = KEPT_ANSWERS) -> None:
        """Empty."""
        # By identity: the items are kept beside, so that no others get theirs.
        self._kept: BoundedCache[int, tuple[Items, EncodedItems]] = BoundedCache(items_max, answers_max)

    def encode(self, outcome: Outcome) -> EncodedItems:
        """As `encode_items`."""
        items = outcome.items
        kept = self._kept.get(id(items))
        if kept is not None and not outcome.buffers:
            return kept[1]
        made = encode_items(outcome)
        if outcome.actions.reuse == len(items):
            self._kept.keep(id(items), (items, made), len(items))
        return made
