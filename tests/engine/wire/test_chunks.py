from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.dag.model import Notice
from dagmanager.engine.model.outcome import ActionCounts, BufferInstruction, Outcome, outcome_digest
from dagmanager.engine.wire.chunk_items import TAG_BYTES
from dagmanager.engine.wire.chunks import MAX_BYTES, WARNING_BYTES, chunks, result_headers
from dagmanager.errors import NoticeCode
from tests.chunk_reader import merge

NOTICE = Notice(NoticeCode.UNRESOLVED_DEPENDENCIES, "not there", "n1", ("d1",))


def items(count: int, size: int = 0) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"blake3:{n:064x}:60:0#ck=blake3:{n:064x}", f"topic_{n}" + "x" * size) for n in range(count)
    )


def buffers(count: int, tags: tuple[str, ...] = ("btc",)) -> tuple[BufferInstruction, ...]:
    return tuple(
        BufferInstruction(f"blake3:{n:064x}", "Indicator", "code", "schema", 60, 20, tags, 20, "compat")
        for n in range(count)
    )


def outcome(**fields: Any) -> Outcome:
    given_fields: dict[str, Any] = {
        "strategy_id": "s",
        "world_id": "w1",
        "submission_id": "sub",
        "submission_digest": "digest",
        "sentinel_id": "s-sentinel",
        "version": "v1",
        "crc32": 4_294_967_295,
        "items": (),
        "actions": ActionCounts(1, 2, 3, 4),
    }
    return Outcome(**(given_fields | fields))


def load(record: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(record)
    return loaded


def test_a_chunk_has_the_fields_of_semantics_9() -> None:
    answer = outcome(items=items(1), buffers=buffers(1), warnings=(NOTICE,), safe_mode="why", dry_run=True)
    (record,) = chunks(answer)
    assert load(record) == {
        "queue_map": dict(answer.items),
        "buffer_nodes": [
            {
                "node_id": f"blake3:{0:064x}",
                "node_type": "Indicator",
                "code_hash": "code",
                "schema_hash": "schema",
                "interval": 60,
                "period": 20,
                "tags": ["btc"],
                "lag": 20,
                "schema_compat_id": "compat",
            }
        ],
        "sentinel_id": "s-sentinel",
        "version": "v1",
        "crc32": 4_294_967_295,
        "strategy_id": "s",
        "world_id": "w1",
        "submission_id": "sub",
        "submission_digest": "digest",
        "outcome_digest": outcome_digest(answer),
        "status": "ok",
        "dry_run": True,
        "safe_mode": "why",
        "actions": {"create": 1, "reuse": 2, "buffer": 3, "isolate": 4},
        "chunk": 0,
        "chunks": 1,
        "warnings": [NOTICE.as_json()],
        "warnings_total": 1,
    }


@pytest.mark.parametrize(
    ("queued", "buffered", "expected"),
    [
        (0, 0, 1),
        (1, 0, 1),
        (100, 0, 1),
        (99, 1, 1),
        (100, 1, 2),
        (101, 0, 2),
        (1000, 0, 10),
        (1000, 1000, 20),
    ],
)
def test_at_most_100_items_and_always_one_chunk(queued: int, buffered: int, expected: int) -> None:
    answer = outcome(items=items(queued), buffers=buffers(buffered), warnings=(NOTICE,))
    loaded = [load(record) for record in chunks(answer)]
    assert len(loaded) == expected
    assert [each["chunk"] for each in loaded] == list(range(expected))
    assert {each["chunks"] for each in loaded} == {expected}
    assert all(len(each["queue_map"]) + len(each["buffer_nodes"]) <= 100 for each in loaded)
    assert {each["crc32"] for each in loaded} == {answer.crc32}
    assert {each["outcome_digest"] for each in loaded} == {outcome_digest(answer)}
    assert ["warnings" in each for each in loaded] == [True] + [False] * (expected - 1)
    assert ["warnings_total" in each for each in loaded] == [True] + [False] * (expected - 1)


@pytest.mark.parametrize("safe_mode", [None, "missing_as_of"])
def test_safe_mode_is_null_or_why(safe_mode: str | None) -> None:
    assert load(chunks(outcome(safe_mode=safe_mode))[0])["safe_mode"] == safe_mode


def test_large_items_make_more_chunks() -> None:
    answer = outcome(items=items(200, size=50_000), warnings=(NOTICE,) * 500)
    records = chunks(answer)
    assert max(map(len, records)) <= MAX_BYTES
    assert len(records) > 2
    merged = merge(records)
    assert merged is not None
    assert merged["queue_map"] == dict(answer.items)


@pytest.mark.parametrize("tag", ["t" * 1_000, "\x00" * 1_000, "é" * 1_000, "t" * 2_000_000])
def test_tags_never_make_an_entry_too_large(tag: str) -> None:
    many = max(2, 2_000_000 // len(tag))
    answer = outcome(buffers=buffers(3, tuple(f"{n:04}{tag}" for n in range(many))))
    records = chunks(answer)
    assert max(map(len, records)) <= MAX_BYTES
    merged = merge(records)
    assert merged is not None
    assert len(merged["buffer_nodes"]) == 3


@pytest.mark.parametrize("over", [-100, 0, 1, 30, 60, 200])
def test_no_chunk_is_larger_than_the_limit(over: int) -> None:
    """A long head and long warnings, and items that are as large as the rest of the limit, and a little more."""
    notices = (replace(NOTICE, message="m" * 500),) * 50

    def answer(filled: int) -> Outcome:
        last = (("blake3:last:60:0", "t" * filled),)
        return outcome(strategy_id="s" * 5_000, items=items(90, 9_000) + last, warnings=notices)

    (whole,) = chunks(answer(0))
    records = chunks(answer(MAX_BYTES - len(whole) + over))
    assert max(map(len, records)) <= MAX_BYTES
    assert (len(records) == 1) == (over < 0)


def test_two_items_are_divided() -> None:
    assert [len(load(each)["queue_map"]) for each in chunks(outcome(items=items(2, 500_000)))] == [1, 1]


def notice_of(size: int, details: tuple[str, ...] = ()) -> Notice:
    """One that is so many bytes of JSON."""
    empty = len(orjson.dumps(replace(NOTICE, message="", details=details).as_json()))
    return replace(NOTICE, message="m" * (size - empty), details=details)


@pytest.mark.parametrize(
    ("notices", "sent"),
    [
        ((notice_of(WARNING_BYTES - 1),), 1),
        ((notice_of(WARNING_BYTES),), 0),
        ((notice_of(1_000), notice_of(WARNING_BYTES - 1_002)), 2),
        ((notice_of(1_000), notice_of(WARNING_BYTES - 1_001)), 1),
        ((notice_of(1_000), notice_of(WARNING_BYTES), notice_of(1_000)), 1),
    ],
)
def test_warnings_are_sent_up_to_their_limit(notices: tuple[Notice, ...], sent: int) -> None:
    (record,) = chunks(outcome(warnings=notices))
    assert load(record)["warnings"] == [each.as_json() for each in notices[:sent]]


@pytest.mark.parametrize(("size", "kept"), [(WARNING_BYTES - 1, ["d"]), (WARNING_BYTES, [])])
def test_a_warning_that_does_not_fit_loses_its_details(size: int, kept: list[str]) -> None:
    (record,) = chunks(outcome(warnings=(notice_of(size, ("d",)),)))
    assert [each["details"] for each in load(record)["warnings"]] == [kept]


@pytest.mark.parametrize("length", [96, 97, 98, 99, 100])
def test_the_first_tags_that_fit_are_sent(length: int) -> None:
    """`TAG_BYTES` are used up to the last byte: quotes and a comma count, and of what follows nothing is sent."""
    tag, filler = "t" * length, "f" * 20_000
    tags = (*(f"{tag}{n:03}" for n in range(900)), filler, "z")
    (record,) = chunks(outcome(buffers=buffers(1, tags)))
    sent = load(record)["buffer_nodes"][0]["tags"]
    size = length + 3 + 3  # three digits, two quotes, a comma
    assert sent == list(tags[: len(sent)])
    assert len(sent) == min(900 + (900 * size + len(filler) + 3 <= TAG_BYTES), TAG_BYTES // size)


def test_tags_that_fit_are_sent_as_they_are() -> None:
    exact = tuple(f"{n:02}" + "t" * 994 for n in range(100))  # 99,600 bytes and 3 for each: not one more
    (record,) = chunks(outcome(buffers=buffers(1, (*exact, "u" * 97, "v"))))
    assert load(record)["buffer_nodes"][0]["tags"] == [*exact, "u" * 97]


@pytest.mark.parametrize(
    ("count", "notice", "sent", "details"),
    [
        (0, NOTICE, 0, 0),
        (100, NOTICE, 100, 1),
        (5_000, NOTICE, 100, 1),
        (105, replace(NOTICE, details=("d" * 300_000,)), 100, 0),
        (3, replace(NOTICE, message="m" * 200_000), 1, 1),
        (3, replace(NOTICE, message="m" * 2_000_000), 0, 0),
    ],
)
def test_the_first_100_warnings_and_their_count(count: int, notice: Notice, sent: int, details: int) -> None:
    (record,) = chunks(outcome(warnings=(notice,) * count))
    assert len(record) <= MAX_BYTES
    chunk = load(record)
    assert chunk["warnings_total"] == count
    assert len(chunk["warnings"]) == sent
    assert all(len(each["details"]) == details for each in chunk["warnings"])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 350), st.integers(0, 250), st.integers(0, 40_000), st.integers(0, 200), st.text(max_size=9)
)
def test_chunks_fit_and_merge_to_the_answer(
    queued: int, buffered: int, size: int, sent: int, name: str
) -> None:
    size = size if queued < 50 else size % 20_000
    answer = outcome(
        strategy_id=name,
        items=items(queued, size),
        buffers=buffers(buffered, (name,)),
        warnings=(replace(NOTICE, message=name),) * sent,
    )
    records = chunks(answer)
    assert records == chunks(answer)
    assert max(map(len, records)) <= MAX_BYTES
    for record in records:
        chunk = load(record)
        assert len(chunk["queue_map"]) + len(chunk["buffer_nodes"]) <= 100
    merged = merge(records)
    assert merged is not None
    assert merged["queue_map"] == dict(answer.items)
    assert [each["node_id"] for each in merged["buffer_nodes"]] == [each.node_id for each in answer.buffers]
    assert merged["warnings_total"] == sent


ONE = outcome(items=items(250))
TWO = outcome(items=items(150), version="v2")


@pytest.mark.parametrize(
    ("picked", "version"),
    [
        ("", None),
        ("A0 A1", None),
        ("A0 A2", None),
        ("A0 A1 A2", "v1"),
        ("A2 A1 A0", "v1"),
        ("A0 A1 A0 A1 A2", "v1"),
        ("A0 A1 A2 A0", "v1"),
        ("A0 B0 B1", "v2"),
        ("A0 A1 A2 B0", "v1"),
        ("A0 A1 A2 B0 B1", "v2"),
        ("B0 B1 A0 A1 A2", "v1"),
        ("A0 B0 A1 B1 A2", "v1"),
        ("A0 A1 A2 B0 B1 A0 A1 A2", "v1"),
        ("A0 A1 A2 B0 B1 A0", "v2"),
    ],
)
def test_the_last_complete_set_counts(picked: str, version: str | None) -> None:
    made = {"A": chunks(ONE), "B": chunks(TWO)}
    merged = merge([made[name[0]][int(name[1])] for name in picked.split()])
    if merged is None:
        assert version is None
    else:
        assert merged["version"] == version
        assert merged["queue_map"] == dict((ONE if version == "v1" else TWO).items)


def test_equal_answers_of_other_submissions_and_worlds_do_not_mix() -> None:
    parts = [chunks(replace(ONE, submission_id=str(n)))[n] for n in range(3)]
    assert merge(parts) is None


def test_headers_of_every_record() -> None:
    assert result_headers("sub", "digest") == (("submission-id", b"sub"), ("submission-digest", b"digest"))


def test_a_thousand_items_are_quick() -> None:
    answer = outcome(items=items(1_000))
    best = min(timed(answer) for _ in range(20))
    assert best < 0.02, f"{best * 1000:.1f} ms"


def timed(answer: Outcome) -> float:
    start = time.perf_counter()
    chunks(answer)
    return time.perf_counter() - start
