"""Kills at every named point, beside broken connections, on real servers; `make chaos` does the same for an hour.

A failure prints its seed: `QMTL_CHAOS_SEED=… pytest tests/chaos/test_chaos.py` plans the same again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.campaign import Campaign, by_group, charges
from chaos.faults import Weather
from chaos.points import NAMED_IN_ISSUE, POINTS
from chaos.site import Site

SEED = os.environ.get("QMTL_CHAOS_SEED") or str(random.SystemRandom().randrange(100_000))
# Every group of points once, and the random instants among them.
KILLS = 14


@pytest.fixture
def site(kafka: str, empty_neo4j: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(
        f"k{SEED}t{random.SystemRandom().randrange(10_000)}w", tmp_path, kafka, empty_neo4j, shares=2
    )
    found.open()
    yield found
    found.close()


def test_killed_anywhere_nothing_is_lost_and_nothing_is_left_behind(site: Site) -> None:
    campaign = Campaign(site, SEED, KILLS)
    campaign.rage()
    report = campaign.judged()
    told = f"seed {SEED}, killed at {dict(campaign.tally.kills)}\n{report.table()}"
    print(told)
    assert report.findings == (), told
    assert campaign.tally.kills.total() == KILLS
    assert [name for name, count, _ in by_group(campaign.tally.kills) if not count] == []
    assert report.counts["submissions answered"] >= KILLS


def test_a_thousand_kills_give_each_named_point_at_least_fifty() -> None:
    rounds = [charge for number in range(10) for charge in charges(f"{SEED}/{number}", 100)]
    for name in NAMED_IN_ISSUE:
        assert sum(each.point in POINTS[name] for each in rounds) >= 50, name


def test_equal_seeds_plan_equal_kills() -> None:
    assert charges(SEED, 50) == charges(SEED, 50)
    assert charges(SEED, 50) != charges(f"{SEED}+", 50)


def test_calm_weather_brings_nothing() -> None:
    with Weather((), SEED) as weather:
        pass
    assert not weather.met
