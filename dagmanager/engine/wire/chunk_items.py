"""The items of an answer as the bodies of chunks, and the digest of all items.

They do not depend on the requester, so that one encoding serves every requester of the same items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import orjson

from dagmanager.engine.model.outcome import BufferInstruction, Item, Items, Outcome, items_digest

MAX_ITEMS: Final = 100
TAG_BYTES: Final = 100_000


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
