"""What model 3 changes in stored rows: the key of a holder, and outcomes that hold a refusal which no longer exists."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.model.outcome import Outcome, encode
from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.engine.model.version_rows import HolderKey, HolderRow, PastSubmission, SentinelKey
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.graph.model_3 import HolderOfModel2, holder_with_world, is_late, old_holder
from tests.graph.builders import sentinel

HELD = SentinelKey("line", "shared", "v1", 1)
OLD = HolderOfModel2(("s1", "shared"), HELD, "digest", 0.5, 7, (PastSubmission("before", 3, 4),))


def stored(row: object) -> bytes:
    return msgspec.msgpack.encode(row)


def outcome_of(body: bytes) -> bytes:
    return stored(OutcomeRow("claim", body, (), 1))


@pytest.mark.parametrize("world", ["", "w1"])
def test_a_holder_gets_the_world_of_its_sentinel_and_keeps_everything_else(world: str) -> None:
    held = stored(sentinel("c1", "line", "shared", world_id=world))
    expected = HolderRow(HolderKey("s1", "shared", world), HELD, "digest", 0.5, 7, OLD.previous)
    assert holder_with_world(old_holder(stored(OLD)), held) == expected


def test_a_holder_without_a_sentinel_has_no_world() -> None:
    assert holder_with_world(OLD, None).key == HolderKey("s1", "shared", "")


def test_a_holder_of_model_3_is_no_old_one() -> None:
    with pytest.raises(msgspec.DecodeError):
        old_holder(stored(holder_with_world(OLD, None)))


def test_only_the_refusal_late_is_late() -> None:
    late = encode(Rejection(ErrorCode.EXPIRED, "m")).replace(b"\xa7expired", b"\xa4late")
    assert is_late(outcome_of(late))
    assert not any(is_late(outcome_of(encode(Rejection(code, "late")))) for code in ErrorCode)
    answer = Outcome("late", "w", "id", "digest", "late", "late", 0, (("late", "late"),))
    assert not is_late(outcome_of(encode(answer)))
    assert not is_late(outcome_of(b""))
