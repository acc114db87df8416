"""The items of an answer encoded as chunk bodies, and their digest.

Both do not depend on the requester: one encoding serves every requester of the same items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import orjson

from dagmanager.engine.model.outcome import BufferInstruction, Items, Outcome, OutcomeItem, items_digest

# In one chunk (docs/semantics.md 9).
MAX_ITEMS: Final = 100
# The tags of one buffer entry. With them the entry stays below the 900 kB of a chunk, which cannot be split further.
TAG_BYTES: Final = 100_000


class EncodedItems(msgspec.Struct, frozen=True):
    """The chunk bodies in order, at most `MAX_ITEMS` items each, none without items; and the digest of all items."""

    bodies: tuple[bytes, ...]
    digest: bytes


def encode_items(outcome: Outcome) -> EncodedItems:
    """Encode the items of an answer; about a microsecond an item."""
    return EncodedItems(tuple(map(body, groups(outcome))), items_digest(outcome))


def groups(outcome: Outcome) -> Iterator[Items]:
    """The items of each chunk, in order: queue map first, then buffer entries."""
    items: Items = (*outcome.items, *outcome.buffers)
    for start in range(0, len(items), MAX_ITEMS):
        yield items[start : start + MAX_ITEMS]


def body(items: Iterable[OutcomeItem]) -> bytes:
    """`{"queue_map":{…},"buffer_nodes":[…]`: without the closing brace, because other fields follow."""
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
    """The first tags that fit in `TAG_BYTES`; the graph has the rest."""
    if sum(map(len, tags)) * 6 <= TAG_BYTES:  # a character takes six bytes of JSON at most (`\\u0000`)
        return tags
    kept: list[str] = []
    left = TAG_BYTES
    for tag in tags:
        left -= len(orjson.dumps(tag)) + 1
        if left < 0:
            break
        kept.append(tag)
    return tuple(kept)
