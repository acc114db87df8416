"""Kills at every named point, beside broken connections, on real servers; `make chaos` does the same for an hour.

A failure prints its seed: `QMTL_CHAOS_SEED=… pytest tests/chaos/test_chaos.py` plans the same again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.campaign import Campaign
from chaos.faults import Weather
from chaos.points import POINTS
from chaos.report import audit_text, by_group
from chaos.schedule import RANDOM_IN_TURN
from chaos.site import Site

SEED = os.environ.get("QMTL_CHAOS_SEED") or str(random.SystemRandom().randrange(100_000))
# Every group of points once, and the random instants of a turn.
KILLS = len(POINTS) + RANDOM_IN_TURN


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
    told = (
        f"seed {SEED}, killed at {dict(campaign.tally.kills)}\n{audit_text(report.counts, report.findings)}"
    )
    print(told)
    assert report.findings == (), told
    assert campaign.tally.kills.total() == KILLS
    assert [name for name, count, _ in by_group(campaign.tally.kills) if not count] == []
    assert report.counts["submissions answered"] >= KILLS


def test_calm_weather_brings_nothing() -> None:
    with Weather((), SEED, lambda: 0) as weather:
        pass
    assert not weather.met
