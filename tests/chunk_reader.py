"""A reader of the diff topic, as docs/semantics.md 9 asks of clients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson


def merge(records: Iterable[bytes]) -> dict[str, Any] | None:
    """The last complete set of chunks of one answer: chunk 0 with the items of all; None without a complete set.

    Records may repeat after a crash, and an answer may have been decided again: sets are distinguished by
    (submission, world, outcome digest).
    """
    open_sets: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    last: dict[str, Any] | None = None
    for record in records:
        chunk = orjson.loads(record)
        name = (chunk["submission_id"], chunk["world_id"], chunk["outcome_digest"])
        parts = open_sets.setdefault(name, {})
        parts[chunk["chunk"]] = chunk
        if len(parts) == chunk["chunks"]:
            last = _joined([parts[index] for index in range(len(parts))])
            del open_sets[name]
    return last


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    queue_map: dict[str, str] = {}
    buffer_nodes: list[dict[str, Any]] = []
    for part in parts:
        queue_map.update(part["queue_map"])
        buffer_nodes.extend(part["buffer_nodes"])
    return parts[0] | {"queue_map": queue_map, "buffer_nodes": buffer_nodes}
