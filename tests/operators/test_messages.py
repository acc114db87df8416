from __future__ import annotations

import orjson

from dagmanager.engine.journey import Answer, Refused
from dagmanager.engine.reading import Reader, ReadOptions
from dagmanager.errors import ErrorCode, Rejection
from operators.attempts import Attempts
from operators.messages import dead_letters, diff_messages
from tests.engine.builders import engine, record, submission
from tests.operators.passing import FEED, REFUSED, fresh, passed


def given() -> list[tuple[str, Answer | Refused]]:
    """One answered, one that could not be read, one that the stores refused."""
    (good,) = engine(fresh()).submit([submission([FEED])])
    late = Answer(submission([FEED], strategy="late", world="w1"), Rejection(ErrorCode.LATE, "too late"))
    return [("s1", good), ("bad", REFUSED), ("late", late)]


def test_everything_is_answered_in_order() -> None:
    found = [message for _, message in passed(lambda up: diff_messages("step", up, Attempts()), given())]
    assert [each.key for each in found] == ["s1", "bad", "late"]
    told = [orjson.loads(each.value) for each in found]
    assert [each["status"] for each in told] == ["ok", "rejected", "rejected"]
    assert [each["error"]["code"] for each in told[1:]] == ["invalid_json", "late"]
    assert told[2]["world_id"] == "w1"


def test_only_what_was_refused_is_buried_with_its_own_bytes() -> None:
    items = given()
    late = items[2][1]
    assert isinstance(late, Answer)
    assert late.submission.record is not None
    found = [message for _, message in passed(lambda up: dead_letters("step", up, Attempts()), items)]
    assert [each.value for each in found] == [REFUSED.record.value, late.submission.record.value]
    codes = [orjson.loads(dict(each.headers)["error"])["code"] for each in found]
    assert codes == ["invalid_json", "late"]


def test_each_world_is_told_of_a_refusal_and_one_letter_is_buried() -> None:
    wrong = record([FEED | {"code_hash": "other"}], worlds=[f"w{number}" for number in range(300)])
    items = [("s1", item) for item in Reader(ReadOptions()).read(wrong) if isinstance(item, Refused)]
    found = [message for _, message in passed(lambda up: diff_messages("step", up, Attempts()), items)]
    told = [orjson.loads(each.value) for each in found]
    assert [each["world_id"] for each in told] == [f"w{number}" for number in range(300)]
    assert {each["error"]["code"] for each in told} == {"node_id_mismatch"}
    assert sum(len(each.value) for each in found) < 2_000_000
    letters = passed(lambda up: dead_letters("step", up, Attempts()), items)
    assert [message.value for _, message in letters] == [wrong.value]
