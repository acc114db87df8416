"""What model 3 changes in stored rows: the key of a holder, the asks of a version, and refusals which no longer exist."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.engine.decide.rollout import effective
from dagmanager.engine.decide.version_order import asks_in_effect, ordered
from dagmanager.engine.model.outcome import Outcome, encode
from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.engine.model.version_change import NewSentinel
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    PastSubmission,
    SentinelKey,
    SentinelRow,
    SentinelState,
    VersionTransition,
)
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.graph.model_3 import HolderOfModel2, holder_with_world, is_late, old_holder
from dagmanager.graph.model_3_asks import with_asks
from tests.engine.lineage import World, key, short_key
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


State = SentinelState
NEWEST_MS = 5_000


def old(
    name: str,
    state: SentinelState = State.ACTIVE,
    weight: float = 0.0,
    asked: float | None = None,
    seen_ms: int = 0,
) -> SentinelRow:
    """A row as a release without asks wrote it. Its content is its name; `seen_ms` is by the store's clock."""
    created_ms = 9_000 + len(name)
    return SentinelRow(
        key(name), name, state, weight, "c", created_ms, weight_asked=asked, last_seen_ms=seen_ms
    )


def pending(name: str, weight: float, asked: float | None = None, seen_ms: int = 0) -> SentinelRow:
    state = State.ACTIVE if weight else State.PARKED
    return replace(
        old(name, State.PENDING, asked=asked, seen_ms=seen_ms), takeover=VersionTransition(state, weight)
    )


def in_force(rows: tuple[SentinelRow, ...]) -> dict[str, float]:
    view = ordered({row.key: asks_in_effect(row) for row in rows}).view
    return {short_key(found): weight for found, weight in view.items()}


def carried(*rows: SentinelRow) -> World:
    found = World()
    found.put(with_asks(rows, NEWEST_MS))
    found.at_ms = NEWEST_MS
    return found


CANARY = (old("v1", weight=0.7, seen_ms=10), old("v2", weight=0.3, asked=0.3, seen_ms=20))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((old("v1", weight=1.0),), {"v1.1": 1.0}),
        ((old("v1", weight=1.0, asked=0.3),), {"v1.1": 1.0}),
        (CANARY, {"v1.1": 0.7, "v2.1": 0.3}),
        (
            (old("v1", weight=0.4, asked=0.4, seen_ms=30), old("v2", weight=0.6, asked=0.3, seen_ms=20)),
            {"v1.1": 0.4, "v2.1": 0.6},
        ),
        ((old("v1", weight=1.0), old("v2", State.PARKED, asked=0.0)), {"v1.1": 1.0}),
        ((old("v1.2", State.SUPERSEDED), old("v1", weight=1.0)), {"v1.1": 1.0}),
        ((old("v1", weight=1.0), old("v1.2", State.PARKED, asked=0.0)), {"v1.1": 1.0}),
        ((*CANARY, old("v3", State.ROLLED_BACK)), {"v1.1": 0.7, "v2.1": 0.3}),
    ],
)
def test_the_stored_weights_follow_from_the_asks(
    rows: tuple[SentinelRow, ...], expected: dict[str, float]
) -> None:
    assert in_force(with_asks(rows, NEWEST_MS)) == expected


def test_versions_that_wait_come_into_force_in_the_order_of_their_claims() -> None:
    rows = (*CANARY, pending("v4", 0.2, asked=0.2, seen_ms=2), pending("v3", 1.0, seen_ms=1))
    after = with_asks(rows, NEWEST_MS)
    assert in_force(after) == {"v1.1": 0.7, "v2.1": 0.3}
    assert {short_key(each): weight for each, weight in effective(after).view.items()} == {
        "v3.1": 0.8,
        "v4.1": 0.2,
    }


def test_a_parked_version_stays_parked_when_another_one_is_asked_for() -> None:
    """The times alone said that the parked one is the newest."""
    found = carried(old("v1", weight=1.0, seen_ms=1), old("v2", State.PARKED, asked=0.0, seen_ms=2))
    found.submit("v3", "new", 0.25)
    found.ready("v3")
    assert found.active == {"v1.1": 0.75, "v3.1": 0.25}
    assert found.rows[key("v2")].state is State.PARKED


def test_a_canary_continues_after_an_older_version_is_sent_again() -> None:
    found = carried(*CANARY, old("v0", State.SUPERSEDED))
    found.submit("v0", "v0")
    assert found.in_force == {"v1.1": 0.7, "v2.1": 0.3}


def test_the_first_version_of_a_canary_takes_all_again_by_its_weight() -> None:
    found = carried(*CANARY)
    found.submit("v1", "v1", 1.0)
    assert found.active == {"v1.1": 1.0}


def test_one_more_holder_changes_no_weight() -> None:
    found = carried(*CANARY)
    found.submit("v2", "v2", 0.3)
    found.submit("v1", "v1")
    assert found.active == {"v1.1": 0.7, "v2.1": 0.3}


def test_records_of_a_backlog_are_newer_though_the_store_wrote_the_rows_later() -> None:
    found = carried(old("v1", weight=1.0, seen_ms=9_000))
    assert isinstance(found.submit("v2", "b", at_ms=NEWEST_MS + 1), NewSentinel)
    assert found.in_force == {"v2.1": 1.0}


def test_a_record_that_is_older_than_the_newest_one_is_parked() -> None:
    found = carried(old("v1", weight=1.0))
    found.submit("v2", "b", at_ms=NEWEST_MS - 1)
    assert found.in_force == {"v1.1": 1.0}


def test_a_lineage_with_asks_is_left_as_it_is() -> None:
    rows = with_asks(CANARY, NEWEST_MS)
    assert with_asks(rows, NEWEST_MS + 1) is rows


STATES = st.sampled_from([State.SUPERSEDED, State.PARKED, State.PENDING, State.ROLLED_BACK])
WEIGHTS = st.sampled_from([None, 0.0, 0.1, 0.3, 1.0])


@given(
    shares=st.sampled_from([(1.0,), (0.9, 0.1), (0.5, 0.5), (0.3, 0.7)]),
    asked=st.lists(WEIGHTS, min_size=8, max_size=8),
    seen=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    others=st.lists(STATES, max_size=6),
)
def test_any_lineage_keeps_what_is_in_force(
    shares: tuple[float, ...], asked: list[float | None], seen: list[int], others: list[SentinelState]
) -> None:
    rows = [
        old(f"a{number}", State.ACTIVE, weight, asked[number], seen[number])
        for number, weight in enumerate(shares)
    ]
    for number, state in enumerate(others, start=2):
        name = f"v{number % 3}.{number}"
        rows.append(
            pending(name, asked[number] or 0.0, asked[number], seen[number])
            if state is State.PENDING
            else old(name, state, asked=asked[number], seen_ms=seen[number])
        )
    after = with_asks(rows, NEWEST_MS)
    assert in_force(after) == {short_key(row.key): row.weight for row in rows if row.state is State.ACTIVE}
    assert [replace(row, asks=(), takeover=None) for row in after] == [
        replace(row, asks=(), takeover=None) for row in rows
    ]
