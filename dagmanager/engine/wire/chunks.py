"""Outcomes as records of the diff topic, and their headers (docs/semantics.md 9).

One JSON object per chunk, with at most 100 items and 900 kB. The fields that all chunks of an answer repeat are
encoded once and joined as bytes: a thousand items cost well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from dagmanager.dag.model import Notice
from dagmanager.engine.model.outcome import Items, Outcome, outcome_digest
from dagmanager.engine.wire.chunk_items import EncodedItems, body, encode_items, groups

# A broker takes 1 MB with its default settings; the rest is for headers and the envelope of a batch.
MAX_BYTES: Final = 900_000
MAX_WARNINGS: Final = 100
# All warnings of one answer together: they must leave room for items on chunk 0.
WARNING_BYTES: Final = 250_000

Headers = tuple[tuple[str, bytes], ...]


def chunks(outcome: Outcome, known: EncodedItems | None = None) -> tuple[bytes, ...]:
    """The records of one answer, in order; at least one.

    `known` are the encoded items of this outcome, if the caller has them. Every chunk repeats the `crc32` of the whole
    DAG and the `outcome_digest`, which tells the chunks of one answer from another's. Only chunk 0 has `warnings`
    (the first 100) and `warnings_total`.
    """
    encoded = known or encode_items(outcome)
    head = orjson.dumps(_head(outcome, encoded))[1:-1]
    notes = b',"warnings":%b,"warnings_total":%d' % (_warnings(outcome.warnings), len(outcome.warnings))
    room = MAX_BYTES - len(head) - len(notes) - 64
    bodies = _fitting(outcome, encoded.bodies, room) or (body(()),)
    total = len(bodies)
    return tuple(
        b'%b,%b,"chunk":%d,"chunks":%d%b}' % (each, head, index, total, b"" if index else notes)
        for index, each in enumerate(bodies)
    )


def result_headers(submission_id: str, submission_digest: str) -> Headers:
    """The headers of every record on the diff topic, chunk or refusal."""
    return (
        ("submission-id", submission_id.encode()),
        ("submission-digest", submission_digest.encode()),
    )


def _head(outcome: Outcome, encoded: EncodedItems) -> dict[str, Any]:
    """The fields that every chunk repeats, with the names of the proto where it has them."""
    return {
        "sentinel_id": outcome.sentinel_id,
        "version": outcome.version,
        "crc32": outcome.crc32,
        "strategy_id": outcome.strategy_id,
        "world_id": outcome.world_id,
        "submission_id": outcome.submission_id,
        "submission_digest": outcome.submission_digest,
        "outcome_digest": outcome_digest(outcome, encoded.digest),
        "status": "ok",
        "dry_run": outcome.dry_run,
        "safe_mode": outcome.safe_mode,
        "actions": {
            "create": outcome.actions.create,
            "reuse": outcome.actions.reuse,
            "buffer": outcome.actions.buffer,
            "isolate": outcome.actions.isolate,
        },
    }


def _fitting(outcome: Outcome, bodies: tuple[bytes, ...], room: int) -> tuple[bytes, ...]:
    """The bodies, larger ones divided so that each takes at most `room` bytes."""
    if all(len(each) <= room for each in bodies):
        return bodies
    return tuple(each for items in groups(outcome) for each in _within(items, room))


def _within(items: Items, room: int) -> Iterable[bytes]:
    """One body, or bodies of half the items each. A single item is never divided; `TAG_BYTES` keeps it small."""
    whole = body(items)
    if len(whole) <= room or len(items) == 1:
        yield whole
        return
    half = len(items) // 2
    yield from _within(items[:half], room)
    yield from _within(items[half:], room)


def _warnings(notices: tuple[Notice, ...]) -> bytes:
    """A JSON list of at most 100; one that does not fit any more loses its details, then the list ends."""
    parts: list[bytes] = []
    left = WARNING_BYTES
    for notice in notices[:MAX_WARNINGS]:
        fields = notice.as_json()
        part = orjson.dumps(fields)
        if len(part) + 1 > left:
            part = orjson.dumps(fields | {"details": []})
        if len(part) + 1 > left:
            break
        left -= len(part) + 1
        parts.append(part)
    return b"[" + b",".join(parts) + b"]"
