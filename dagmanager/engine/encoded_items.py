"""What of an answer does not depend on who asks: its items as the bodies of chunks, and their digest.

For a thousand nodes this is most of the work of telling an answer. Answers that are remembered (`recall`) hold the
very same items, so that it is done once for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import orjson

from dagmanager.engine.outcome import BufferInstruction, Item, Items, Outcome, items_digest
from dagmanager.engine.recent import Recent

MAX_ITEMS: Final = 100
TAG_BYTES: Final = 100_000
# A body has some 200 bytes an item.
KEPT_ITEMS: Final = 100_000
KEPT_ANSWERS: Final = 10_000


class EncodedItems(msgspec.Struct, frozen=True):
    """Bodies of at most 100 items, in order, none for an answer without items; and the digest of all items."""

    bodies: tuple[bytes, ...]
    digest: bytes


def encode_items(outcome: Outcome) -> EncodedItems:
    """Afresh."""
    return EncodedItems(tuple(map(body, groups(outcome))), items_digest(outcome))


def groups(outcome: Outcome) -> Iterator[Items]:
    """The items of each chunk, in order."""
    items: Items = (*outcome.items, *outcome.buffers)
    for start in range(0, len(items), MAX_ITEMS):
        yield items[start : start + MAX_ITEMS]


class KnownItems:
    """Encoded items of answers that reuse every node, the oldest go first. Safe between threads."""

    def __init__(self, items_max: int = KEPT_ITEMS, answers_max: int = KEPT_ANSWERS) -> None:
        """Empty."""
        # By identity: the items are kept beside, so that no others get theirs.
        self._kept: Recent[int, tuple[Items, EncodedItems]] = Recent(items_max, answers_max)

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


def body(items: Iterable[Item]) -> bytes:
    """`{"queue_map":{…},"buffer_nodes":[…]` without the closing brace."""
    queue_map: dict[str, str] = {}
    buffers: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, BufferInstruction):
            buffers.append(_buffer(item))
        else:
            queue_map[item[0]] = item[1]
    return orjson.dumps({"queue_map": queue_map, "buffer_nodes": buffers})[:-1]


def _buffer(item: BufferInstruction) -> dict[str, Any]:
    return {
        "node_id": item.node_id,
        "node_type": item.node_type,
        "code_hash": item.code_hash,
        "schema_hash": item.schema_hash,
        "interval": item.interval,
        "period": item.period,
        "tags": _bounded_tags(item.tags),
        "lag": item.lag,
        "schema_compat_id": item.schema_compat_id,
    }


def _bounded_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """As many tags as one entry may carry: the rest stays in the graph, the entry fits in a chunk."""
    if sum(map(len, tags)) * 6 <= TAG_BYTES:  # no character takes more than six bytes of JSON
        return tags
    kept: list[str] = []
    left = TAG_BYTES
    for tag in tags:
        left -= len(orjson.dumps(tag)) + 1
        if left < 0:
            break
        kept.append(tag)
    return tuple(kept)
