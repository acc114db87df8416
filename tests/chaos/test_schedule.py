"""The planned kills of a campaign of a thousand have the promised numbers. Nothing is killed here."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chaos.points import POINTS, RANDOM, REQUIRED_POINTS, PlannedKill
from chaos.schedule import KILLS_A_ROUND, KillQueue, planned_kills, rounds

AT_LEAST = 50
seeds = st.integers(0, 10**6).map(str)


def planned(seed: str, kills: int) -> list[PlannedKill]:
    return [
        each
        for number, count in enumerate(rounds(kills))
        for each in planned_kills(f"{seed}/{number}", count)
    ]


@given(seeds)
def test_a_thousand_kills_give_each_named_point_and_random_instants_at_least_fifty(seed: str) -> None:
    kills = Counter(each.name for each in planned(seed, 1_000))
    assert kills.total() == 1_000
    for name in POINTS:
        assert sum(kills[place] for place in POINTS[name]) >= AT_LEAST, name
    assert kills[RANDOM] >= AT_LEAST


def test_every_required_point_is_a_group() -> None:
    assert set(REQUIRED_POINTS) <= POINTS.keys()


@given(seeds)
def test_every_point_is_planned(seed: str) -> None:
    kills = {each.name for each in planned(seed, 1_000)}
    assert kills == {place for places in POINTS.values() for place in places} | {RANDOM}


@given(seeds)
def test_equal_seeds_plan_equal_kills(seed: str) -> None:
    assert planned_kills(seed, 50) == planned_kills(seed, 50)
    assert planned_kills(seed, 50) != planned_kills(f"{seed}+", 50)


@given(st.integers(1, 5_000))
def test_rounds_add_up(kills: int) -> None:
    assert sum(rounds(kills)) == kills
    assert max(rounds(kills)) <= KILLS_A_ROUND


@given(seeds, st.sets(st.integers(0, KILLS_A_ROUND)))
def test_swaps_change_the_order_of_kills_and_not_their_numbers(seed: str, swapped: set[int]) -> None:
    """A point that was swapped for a random instant comes later in the same round."""
    queue, kills, count = KillQueue(planned_kills(seed, KILLS_A_ROUND)), Counter[str](), 0
    while (kill_plan := queue.next()) is not None:
        count += 1
        swaps = count in swapped and kill_plan.point and queue.swap_for_random(kill_plan)
        kills[RANDOM if swaps else kill_plan.name] += 1
    assert kills == Counter(each.name for each in planned_kills(seed, KILLS_A_ROUND))


def test_without_a_random_instant_left_nothing_is_swapped() -> None:
    queue = KillQueue([PlannedKill("claim")])
    assert not queue.swap_for_random(PlannedKill("emit"))
    assert queue.next() == PlannedKill("claim")
    assert queue.next() is None
