from __future__ import annotations

import orjson
import pytest
from blake3 import blake3

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Origin, Record
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Answer, Refused
from dagmanager.engine.wire.chunks import MAX_BYTES
from dagmanager.engine.wire.message import Message
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.topics.kafka_preflight import CHUNK_ENVELOPE_BYTES, own_topics
from operators.steps.messages import dead_letter_of, dead_letters, diff_messages, diff_messages_of
from tests.engine.builders import engine, node, record, submission
from tests.operators.passing import FEED, REFUSED, fresh, guard, passed


def given() -> list[tuple[str, Answer | Refused]]:
    """One answered, one that could not be read, one that the stores refused."""
    (good,) = engine(fresh()).submit([submission([FEED])])
    old = Answer(
        submission([FEED], strategy="old", world="w1"), Rejection(ErrorCode.EXPIRED, "its queue is gone")
    )
    return [("s1", good), ("bad", REFUSED), ("old", old)]


def test_everything_is_answered_in_order() -> None:
    found = [message for _, message in passed(lambda up: diff_messages("step", up, guard()), given())]
    assert [each.key for each in found] == ["s1", "bad", "old"]
    answers = [orjson.loads(each.value) for each in found]
    assert [each["status"] for each in answers] == ["ok", "rejected", "rejected"]
    assert [each["error"]["code"] for each in answers[1:]] == ["invalid_json", "expired"]
    assert answers[2]["world_id"] == "w1"


def test_only_refused_records_become_dead_letters_with_their_own_bytes() -> None:
    items = given()
    old = items[2][1]
    assert isinstance(old, Answer)
    assert old.submission.record is not None
    found = [message for _, message in passed(lambda up: dead_letters("step", up, guard()), items)]
    assert [each.value for each in found] == [REFUSED.record.value, old.submission.record.value]
    codes = [orjson.loads(dict(each.headers)["error"])["code"] for each in found]
    assert codes == ["invalid_json", "expired"]


def test_a_refusal_has_the_id_of_its_bytes_and_origin_and_says_that_it_was_a_dry_run() -> None:
    wrong = record([FEED | {"code_hash": "other"}])
    value = wrong.value.replace(b'"s1"', b'"dryrun"')
    found = [
        Reader(ReadOptions()).read(Record(each, Origin("subs", "id", 0, at), b"k"))[0]
        for each, at in ((wrong.value, 1), (wrong.value, 1), (wrong.value, 2), (value, 1), (b"{", 1))
    ]
    answers = [next(iter(diff_messages_of(item))) for item in found if isinstance(item, Refused)]
    bodies = [orjson.loads(each.value) for each in answers]
    assert [dict(each.headers)["submission-id"].decode() for each in answers] == [
        each["submission_id"] for each in bodies
    ]
    assert bodies[0]["submission_digest"] == "blake3:" + blake3(wrong.value).hexdigest()
    first, again, *others = (each["submission_id"] for each in bodies)
    assert first == again
    assert len({first, *others}) == 4
    assert [each["dry_run"] for each in bodies] == [False, False, False, True, False]


def test_a_dead_letter_keeps_all_bytes_up_to_the_set_limit() -> None:
    value = b"{" * 9_400_000
    [item] = Reader(ReadOptions(limits=Limits(bytes_max=16 * 1024 * 1024))).read(
        Record(value, Origin("subs"))
    )
    assert isinstance(item, Refused)
    [whole], [cut] = dead_letter_of(item, 16 * 1024 * 1024), dead_letter_of(item, 8 * 1024 * 1024)
    assert whole.value == value
    assert (len(cut.value), dict(cut.headers)["value-length"]) == (64 * 1024, b"9400000")


def unreadable(key: bytes | None) -> tuple[Message, Message]:
    """Answer and dead letter of a record that cannot be read."""
    [item] = Reader(ReadOptions()).read(Record(b"{", Origin("subs", "id", 0, 1), key))
    assert isinstance(item, Refused)
    [answer], [letter] = diff_messages_of(item), dead_letter_of(item)
    return answer, letter


@pytest.mark.parametrize("prefix", [b"", b"ingest:"])
def test_a_key_longer_than_a_strategy_id_may_be_names_no_strategy(prefix: bytes) -> None:
    answer, letter = unreadable(prefix + b"k" * 4_097)
    record = orjson.loads(answer.value)
    assert (answer.key, record["strategy_id"], record["sentinel_id"]) == ("", "", "")
    assert (letter.key, letter.value) == ("", b"{")
    assert unreadable(prefix + b"k" * 4_096)[0].key == "k" * 4_096


def test_a_dead_letter_has_the_key_of_its_record_unless_it_is_too_large() -> None:
    assert [letter.key for _, letter in map(unreadable, (b"ingest:s", b"k" * 4_096, None))] == [
        "ingest:s",
        "k" * 4_096,
        "",
    ]
    assert len(unreadable(b"\xff" * 4_096)[0].value) < 32 * 1024


def test_a_record_with_a_huge_key_and_a_huge_text_costs_a_small_answer() -> None:
    huge = "x" * 1_000_000
    given = orjson.loads(record([FEED]).value) | {"strategy_id": huge, "world_id": huge}
    [item] = Reader(ReadOptions()).read(
        Record(orjson.dumps(given), Origin("subs", "id", 0, 1), huge.encode())
    )
    assert isinstance(item, Refused)
    assert item.rejection.code is ErrorCode.TOO_LARGE
    assert sum(len(each.value) + len(each.key) for each in diff_messages_of(item)) < 2_000


def test_the_longest_texts_that_are_taken_fit_into_the_diffs_topic() -> None:
    """Control characters have six bytes in JSON. Both versions, so that each node comes as an instruction too."""
    [diffs] = own_topics({"diffs_topic": "d"}, Limits().bytes_max)
    stores = fresh()
    for position, digit in enumerate("\x01\x02"):
        text = digit * 4_096
        nodes = [
            node(f"n{at}", code="\x01" * 4_096, node_type="\x01" * 4_096, interval=at) for at in range(20)
        ]
        one = submission(
            [each | {"schema_hash": text} for each in nodes],
            strategy="\x01" * 4_096,
            version="x" * 4_096,
            world="\x01" * 4_096,
            domain="\x01" * 4_096,
            as_of="\x01" * 4_096,
            position=position,
        )
        [answer] = engine(stores).submit([one])
        assert isinstance(answer.result, Outcome)
        messages = list(diff_messages_of(answer))
        assert len(answer.result.buffers) == (20 if position else 0)
        headers = [len(name) + len(value) for name, value in messages[0].headers]
        assert max(len(each.value) for each in messages) <= MAX_BYTES
        assert max(len(each.key.encode()) for each in messages) + sum(headers) < CHUNK_ENVELOPE_BYTES
    assert diffs.shape.value_bytes == MAX_BYTES + CHUNK_ENVELOPE_BYTES


def test_each_world_gets_a_refusal_and_one_dead_letter_is_written() -> None:
    wrong = record([FEED | {"code_hash": "other"}], worlds=[f"w{number}" for number in range(300)])
    items = [("s1", item) for item in Reader(ReadOptions()).read(wrong) if isinstance(item, Refused)]
    found = [message for _, message in passed(lambda up: diff_messages("step", up, guard()), items)]
    answers = [orjson.loads(each.value) for each in found]
    assert [each["world_id"] for each in answers] == [f"w{number}" for number in range(300)]
    assert {each["error"]["code"] for each in answers} == {"node_id_mismatch"}
    assert sum(len(each.value) for each in found) < 2_000_000
    letters = passed(lambda up: dead_letters("step", up, guard()), items)
    assert [message.value for _, message in letters] == [wrong.value]
