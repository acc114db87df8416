from __future__ import annotations

import json
from typing import Any

import pytest
from blake3 import blake3

from dagmanager.dag.model import Origin, Record, WholeValue
from dagmanager.engine.model.outcome import outcome_digest
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.engine.wire.refusals import (
    DEAD_LETTER_BYTES,
    HEADER_BYTES,
    dead_letter_headers,
    dead_letter_value,
    rejected_record,
)
from dagmanager.errors import ErrorCode, Rejection
from tests.chunk_reader import merge


def test_a_refusal_is_one_record() -> None:
    rejection = Rejection(ErrorCode.MISSING_FIELDS, "code_hash is missing", "nodes.0.code_hash", "n1")
    record = rejected_record(rejection, "s", "w1", "sub", "digest", dry_run=True)
    assert json.loads(record) == {
        "queue_map": {},
        "buffer_nodes": [],
        "strategy_id": "s",
        "sentinel_id": "s-sentinel",
        "world_id": "w1",
        "submission_id": "sub",
        "submission_digest": "digest",
        "outcome_digest": outcome_digest(rejection),
        "status": "rejected",
        "dry_run": True,
        "error": rejection.as_json(),
        "chunk": 0,
        "chunks": 1,
    }
    merged = merge([record])
    assert merged is not None
    assert merged["status"] == "rejected"


ORIGIN = Origin("dagmanager.submissions", "topic-id", 3, 41)
EXPIRED = Rejection(ErrorCode.EXPIRED, "expired")


def sent(value: bytes, whole: WholeValue | None = None) -> Record:
    return Record(value, ORIGIN, whole=whole)


def test_a_dead_letter_has_the_original_bytes_the_error_and_the_origin() -> None:
    value = b"\xff not json"
    assert dead_letter_value(sent(value), 100) == value
    headers = dict(dead_letter_headers(EXPIRED, sent(value), 2, 100))
    assert json.loads(headers.pop("error")) == EXPIRED.as_json()
    assert headers == {
        "source-topic": b"dagmanager.submissions",
        "source-partition": b"3",
        "source-offset": b"41",
        "attempts": b"2",
    }


@pytest.mark.parametrize(("size", "kept"), [(100, 100), (101, 101), (100_000, DEAD_LETTER_BYTES)])
def test_a_larger_record_is_cut_to_64_kib_with_digest_and_length(size: int, kept: int) -> None:
    value = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert dead_letter_value(sent(value), 100) == value[:kept]
    headers = dict(dead_letter_headers(EXPIRED, sent(value), 1, 100))
    assert ("value-digest" in headers) == ("value-length" in headers) == (size > 100)
    if size > 100:
        assert headers["value-length"] == b"%d" % size
        assert headers["value-digest"].decode() == "blake3:" + blake3(value).hexdigest()


def test_a_record_that_the_source_has_cut_has_digest_and_length_of_the_whole() -> None:
    record = sent(b"x" * 101, WholeValue("blake3:of all", 9_000_000))
    headers = dict(dead_letter_headers(EXPIRED, record, 1, 1_000))
    assert (headers["value-digest"], headers["value-length"]) == (b"blake3:of all", b"9000000")
    assert dead_letter_value(record, 1_000) == b"x" * 101


@pytest.mark.parametrize(
    "rejection",
    [
        Rejection(ErrorCode.MISSING_FIELDS, "m", details=tuple({"node": "n" * 50_000} for _ in range(100))),
        Rejection(ErrorCode.INVALID_FIELD, "\x00" * 3_000_000, "f" * 3_000_000, got="g" * 3_000_000),
    ],
)
def test_a_large_error_is_cut_and_stays_valid_json(rejection: Rejection) -> None:
    headers = dict(dead_letter_headers(rejection, sent(b""), 1, 100))
    assert len(headers["error"]) <= HEADER_BYTES
    assert json.loads(headers["error"])["code"] == rejection.code.value
    record = rejected_record(rejection, "s", "w1", "sub")
    assert len(record) <= MAX_BYTES
    assert json.loads(record)["error"].keys() == rejection.as_json().keys()


def test_a_refusal_without_digest_is_no_dry_run() -> None:
    record = json.loads(rejected_record(EXPIRED, "", "w1", "sub"))
    assert (record["submission_digest"], record["dry_run"], record["sentinel_id"]) == ("", False, "")


def test_up_to_the_limit_nothing_of_a_large_record_is_cut() -> None:
    value = bytes(DEAD_LETTER_BYTES + 2)
    assert dead_letter_value(sent(value), len(value)) == value
    assert dead_letter_value(sent(value), len(value) - 1) == value[:DEAD_LETTER_BYTES]


def test_an_error_of_exactly_the_limit_keeps_its_details() -> None:
    def details(length: int) -> tuple[dict[str, str], ...]:
        return (
            *({"d": "x" * 900},) * 60,
            *({"d": "x" * (length // 16)},) * 15,
            {"d": "x" * (length - length // 16 * 15)},
        )

    def error(length: int) -> dict[str, Any]:
        rejection = Rejection(ErrorCode.EXPIRED, "expired", details=details(length))
        encoded: dict[str, Any] = json.loads(dict(dead_letter_headers(rejection, sent(b""), 1, 100))["error"])
        return encoded

    empty = len(
        json.dumps(
            Rejection(ErrorCode.EXPIRED, "expired", details=details(0)).as_json(), separators=(",", ":")
        )
    )
    assert error(HEADER_BYTES - empty)["details"] == list(details(HEADER_BYTES - empty))
    assert error(HEADER_BYTES - empty + 1) == Rejection(ErrorCode.EXPIRED, "expired").as_json()
