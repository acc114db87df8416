"""The schedule of a campaign alone keeps what is promised of a thousand kills; nothing runs here."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chaos.points import NAMED_IN_ISSUE, POINTS, RANDOM, Charge
from chaos.schedule import KILLS_A_ROUND, Deal, charges, rounds

AT_LEAST = 50
seeds = st.integers(0, 10**6).map(str)


def planned(seed: str, kills: int) -> list[Charge]:
    return [each for number, count in enumerate(rounds(kills)) for each in charges(f"{seed}/{number}", count)]


@given(seeds)
def test_a_thousand_kills_give_each_named_point_and_random_instants_at_least_fifty(seed: str) -> None:
    kills = Counter(each.name for each in planned(seed, 1_000))
    assert kills.total() == 1_000
    for name in POINTS:
        assert sum(kills[place] for place in POINTS[name]) >= AT_LEAST, name
    assert kills[RANDOM] >= AT_LEAST


def test_every_point_of_the_issue_has_places() -> None:
    assert set(NAMED_IN_ISSUE) <= POINTS.keys()


@given(seeds)
def test_every_place_has_its_turn(seed: str) -> None:
    kills = {each.name for each in planned(seed, 1_000)}
    assert kills == {place for places in POINTS.values() for place in places} | {RANDOM}


@given(seeds)
def test_equal_seeds_plan_equal_kills(seed: str) -> None:
    assert charges(seed, 50) == charges(seed, 50)
    assert charges(seed, 50) != charges(f"{seed}+", 50)


@given(st.integers(1, 5_000))
def test_rounds_add_up(kills: int) -> None:
    assert sum(rounds(kills)) == kills
    assert max(rounds(kills)) <= KILLS_A_ROUND


@given(seeds, st.sets(st.integers(0, KILLS_A_ROUND)))
def test_who_waits_too_long_changes_the_order_of_deaths_and_not_their_numbers(
    seed: str, impatient: set[int]
) -> None:
    """The points of those that were exchanged for a random instant come later in the same round."""
    deal, kills, lives = Deal(charges(seed, KILLS_A_ROUND)), Counter[str](), 0
    while (charge := deal.next()) is not None:
        lives += 1
        swaps = lives in impatient and charge.point and deal.exchange(charge)
        kills[RANDOM if swaps else charge.name] += 1
    assert kills == Counter(each.name for each in charges(seed, KILLS_A_ROUND))


def test_with_no_random_instant_left_a_point_is_waited_for() -> None:
    deal = Deal([Charge("claim")])
    assert not deal.exchange(Charge("emit"))
    assert deal.next() == Charge("claim")
    assert deal.next() is None
