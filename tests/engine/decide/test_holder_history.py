"""Record order tells a replayed resend from a new command."""

from __future__ import annotations

import pytest

from dagmanager.engine.decide.holder_history import HISTORY_MAX, next_history, was_replaced
from dagmanager.engine.model.version_rows import HolderKey, HolderRow, PastSubmission, SentinelKey


def holder(digest: str, previous: tuple[PastSubmission, ...] = ()) -> HolderRow:
    return HolderRow(HolderKey("s", "", "w1"), SentinelKey("l", "", "v1", 1), digest, None, 0, previous)


@pytest.mark.parametrize(
    ("at_ms", "position", "replayed"),
    [
        pytest.param(9, 99, True, id="an older record"),
        pytest.param(10, 4, True, id="the same millisecond, an earlier place"),
        pytest.param(10, 5, False, id="the very record that came instead"),
        pytest.param(11, 0, False, id="a newer record is a command"),
    ],
)
def test_only_a_record_older_than_the_replacement_is_a_replay(
    at_ms: int, position: int, replayed: bool
) -> None:
    row = holder("b", next_history(holder("a"), "b", 10, 5))
    assert was_replaced(row, "a", at_ms, position) is replayed
    assert not was_replaced(row, "c", at_ms, position)


def test_the_same_digest_again_does_not_change_the_history() -> None:
    row = holder("b", (PastSubmission("a", 1, 1),))
    assert next_history(row, "b", 5, 5) == row.previous
    assert next_history(None, "b", 5, 5) == ()


def test_the_history_is_bounded_and_has_each_digest_once() -> None:
    row = holder("d0")
    for number in range(1, 40):
        row = holder(f"d{number % 20}", next_history(row, f"d{number % 20}", number, 0))
    assert len(row.previous) == HISTORY_MAX
    assert len({held.submission_digest for held in row.previous}) == HISTORY_MAX
