"""A refused submission as records: one on the diff topic, one dead letter (docs/semantics.md 9)."""

from __future__ import annotations

from typing import Any, Final

import orjson
from blake3 import blake3

from dagmanager.dag.model import Record, WholeValue
from dagmanager.engine.model.outcome import outcome_digest, sentinel_id
from dagmanager.engine.wire.chunks import MAX_BYTES, Headers
from dagmanager.errors import Rejection

# What is kept of a record that is too large for a dead letter.
DEAD_LETTER_BYTES: Final = 64 * 1024
# Of the error in a header: a broker limits the size of a whole record, headers included.
HEADER_BYTES: Final = 64 * 1024


def rejected_record(
    rejection: Rejection,
    strategy_id: str,
    world_id: str,
    submission_id: str,
    submission_digest: str = "",
    dry_run: bool = False,
) -> bytes:
    """The only record of a refused submission on the diff topic; its dead letter has the same error."""
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


def whole_value(record: Record) -> WholeValue:
    """Digest and length of the record's value as it was sent, also when the source kept only its beginning."""
    return record.whole or WholeValue("blake3:" + blake3(record.value).hexdigest(), len(record.value))


def dead_letter_value(record: Record, max_bytes: int) -> bytes:
    """The original bytes; the first `DEAD_LETTER_BYTES` of them when they are more than `max_bytes`."""
    return record.value if _fits(record, max_bytes) else record.value[:DEAD_LETTER_BYTES]


def dead_letter_headers(rejection: Rejection, record: Record, attempts: int, max_bytes: int) -> Headers:
    """The error and where the record came from; digest and length of the original when it was cut.

    `attempts` counts how often the record was processed, `max_bytes` is the limit of `dead_letter_value`.
    """
    origin = record.origin
    headers = (
        ("error", _error(rejection, HEADER_BYTES)),
        ("source-topic", origin.source.encode()),
        ("source-partition", b"%d" % origin.partition),
        ("source-offset", b"%d" % origin.position),
        ("attempts", b"%d" % attempts),
    )
    if _fits(record, max_bytes):
        return headers
    whole = whole_value(record)
    return (*headers, ("value-digest", whole.digest.encode()), ("value-length", b"%d" % whole.length))


def _fits(record: Record, max_bytes: int) -> bool:
    return record.whole is None and len(record.value) <= max_bytes


def _error(rejection: Rejection, max_bytes: int) -> bytes:
    """The error as JSON. One that is too large loses its details, then the ends of its texts."""
    fields = rejection.as_json()
    encoded = orjson.dumps(fields)
    if len(encoded) > max_bytes:
        encoded = orjson.dumps(fields | {"details": []})
    if len(encoded) > max_bytes:
        room = max_bytes // (6 * len(fields))  # a character takes six bytes of JSON at most
        cut = {name: value[:room] if isinstance(value, str) else value for name, value in fields.items()}
        encoded = orjson.dumps(cut | {"details": []})
    return encoded
