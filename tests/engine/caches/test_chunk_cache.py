"""Items of an answer are encoded once for all requesters; the chunks are the same as without the cache."""

from __future__ import annotations

from msgspec.structs import replace

from dagmanager.engine.caches.chunk_cache import ChunkCache
from dagmanager.engine.model.outcome import ActionCounts, Outcome, outcome_digest
from dagmanager.engine.wire.chunk_items import encode_items
from dagmanager.engine.wire.chunks import chunks
from tests.engine.wire.test_chunks import buffers, items, outcome


def reused(count: int, size: int = 0) -> Outcome:
    return outcome(items=items(count, size), actions=ActionCounts(reuse=count))


def test_cached_items_give_the_same_chunks() -> None:
    for count, size in ((0, 0), (1, 0), (100, 0), (250, 0), (150, 20_000)):
        known, first = ChunkCache(), reused(count, size)
        known.encode(first)
        for again in (first, replace(first, strategy_id="another", submission_digest="d", submission_id="i")):
            assert chunks(again, known.encode(again)) == chunks(again)


def test_cached_items_are_encoded_once() -> None:
    known, first = ChunkCache(), reused(3)
    made = known.encode(first)
    assert known.encode(replace(first, strategy_id="another")) is made
    assert known.encode(reused(3)) is not made, "equal items of another answer"
    assert known.encode(reused(3)) == made


def test_answers_that_are_sent_once_are_not_cached() -> None:
    known = ChunkCache()
    for once in (
        outcome(items=items(3), actions=ActionCounts(create=3)),
        outcome(items=items(3), buffers=buffers(3), actions=ActionCounts(buffer=3)),
    ):
        assert known.encode(once) is not known.encode(once)


def test_the_same_items_with_buffers_are_another_answer() -> None:
    known, plain = ChunkCache(), reused(3)
    known.encode(plain)
    buffered = replace(plain, buffers=buffers(1))
    assert known.encode(buffered) == encode_items(buffered)


def test_the_chunk_cache_is_bounded() -> None:
    known, large = ChunkCache(items_max=5, answers_max=2), reused(6)
    assert known.encode(large) is not known.encode(large)
    answers = [reused(1) for _ in range(3)]
    made = [known.encode(each) for each in answers]
    assert known.encode(answers[2]) is made[2]
    assert known.encode(answers[0]) is not made[0]


def test_the_outcome_digest_covers_the_items() -> None:
    one, other = reused(2), reused(3)
    digests = {outcome_digest(one, encode_items(each).digest) for each in (one, other)}
    assert len(digests) == 2
    assert outcome_digest(one) in digests
