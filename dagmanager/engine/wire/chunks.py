"""Outcomes as records of the diff topic, and the headers beside them (docs/semantics.md 9).

One JSON object per chunk, at most 100 items (a queue_map or a buffer entry) and 900 kB of value. The
parts common to all chunks are serialised once and joined as bytes: a thousand items cost well under
a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from blake3 import blake3

from dagmanager.dag.model import Notice, Origin
from dagmanager.engine.model.outcome import Items, Outcome, outcome_digest, sentinel_id
from dagmanager.engine.wire.chunk_items import EncodedItems, body, encode_items, groups
from dagmanager.errors import Rejection

MAX_BYTES: Final = 900_000
MAX_WARNINGS: Final = 100
WARNING_BYTES: Final = 250_000
DEAD_LETTER_BYTES: Final = 64 * 1024
HEADER_BYTES: Final = 64 * 1024

Headers = tuple[tuple[str, bytes], ...]


def chunks(outcome: Outcome, known: EncodedItems | None = None) -> tuple[bytes, ...]:
    """The records of one answer, in order; an outcome without items still gives one.

    `known` are its items where they were encoded before. `warnings` (the first 100) and `warnings_total`
    stand on chunk 0 only; `crc32` is the whole DAG's on every chunk; `outcome_digest` marks the chunks of
    one answer.
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


def rejected_record(
    rejection: Rejection,
    strategy_id: str,
    world_id: str,
    submission_id: str,
    submission_digest: str = "",
    dry_run: bool = False,
) -> bytes:
    """The one record of a refused submission: the same error as its dead letter (docs/semantics.md 9)."""
    record: dict[str, Any] = {
        "queue_map": {},
        "buffer_nodes": [],
        "strategy_id": strategy_id,
        "sentinel_id": sentinel_id(strategy_id) if strategy_id else "",
        "world_id": world_id,
        "submission_id": submission_id,
        "submission_digest": submission_digest,
        "outcome_digest": outcome_digest(rejection),
        "status": "rejected",
        "dry_run": dry_run,
        "error": orjson.Fragment(_error(rejection, MAX_BYTES // 2)),
        "chunk": 0,
        "chunks": 1,
    }
    return orjson.dumps(record)


def result_headers(submission_id: str, submission_digest: str) -> Headers:
    """Headers of every diff record, chunk or refusal."""
    return (
        ("submission-id", submission_id.encode()),
        ("submission-digest", submission_digest.encode()),
    )


def dead_letter_value(value: bytes, max_bytes: int) -> bytes:
    """The original bytes; over the size limit their first 64 KiB."""
    return value if len(value) <= max_bytes else value[:DEAD_LETTER_BYTES]


def dead_letter_headers(
    rejection: Rejection, origin: Origin, attempts: int, value: bytes, max_bytes: int
) -> Headers:
    """Why and whence; with digest and length of the original when it was cut (docs/semantics.md 9)."""
    headers = (
        ("error", _error(rejection, HEADER_BYTES)),
        ("source-topic", origin.source.encode()),
        ("source-partition", b"%d" % origin.partition),
        ("source-offset", b"%d" % origin.position),
        ("attempts", b"%d" % attempts),
    )
    if len(value) <= max_bytes:
        return headers
    digest = "blake3:" + blake3(value).hexdigest()
    return (*headers, ("value-digest", digest.encode()), ("value-length", b"%d" % len(value)))


def merge(records: Iterable[bytes]) -> dict[str, Any] | None:
    """What a reader takes from the records of a submission: the last complete set of one answer.

    Records may repeat after a crash, and an answer may have been decided anew: sets are told apart by
    (submission, world, outcome digest). The result is chunk 0 with everyone's items; None when no set
    is complete.
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


def _head(outcome: Outcome, encoded: EncodedItems) -> dict[str, Any]:
    """What every chunk repeats, by the proto's names where it has them."""
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
    """The bodies, those that are too large as several."""
    if all(len(each) <= room for each in bodies):
        return bodies
    return tuple(each for items in groups(outcome) for each in _within(items, room))


def _within(items: Items, room: int) -> Iterable[bytes]:
    """One body, or halves of it when it is too large; a single item always goes."""
    whole = body(items)
    if len(whole) <= room or len(items) == 1:
        yield whole
        return
    half = len(items) // 2
    yield from _within(items[:half], room)
    yield from _within(items[half:], room)


def _warnings(notices: tuple[Notice, ...]) -> bytes:
    """The first 100 as a JSON list, fewer when they are large; a large one loses its details first."""
    parts: list[bytes] = []
    left = WARNING_BYTES
    for notice in notices[:MAX_WARNINGS]:
        told = notice.as_json()
        part = orjson.dumps(told)
        if len(part) + 1 > left:
            part = orjson.dumps(told | {"details": []})
        if len(part) + 1 > left:
            break
        left -= len(part) + 1
        parts.append(part)
    return b"[" + b",".join(parts) + b"]"


def _error(rejection: Rejection, max_bytes: int) -> bytes:
    """The error as JSON; too large, it loses its details, then the ends of its texts."""
    told = rejection.as_json()
    body = orjson.dumps(told)
    if len(body) > max_bytes:
        body = orjson.dumps(told | {"details": []})
    if len(body) > max_bytes:
        room = max_bytes // (6 * len(told))
        cut = {name: value[:room] if isinstance(value, str) else value for name, value in told.items()}
        body = orjson.dumps(cut | {"details": []})
    return body
