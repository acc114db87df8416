"""Kills at every named point on real servers; `make chaos` does the same for an hour, with faults of servers and network.

A failure prints its seed: `QMTL_CHAOS_SEED=… pytest tests/chaos/test_chaos.py` repeats the plan.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.campaign import Campaign
from chaos.faults import FaultInjector
from chaos.points import POINTS
from chaos.report import audit_text, by_group
from chaos.schedule import RANDOM_IN_TURN
from chaos.site import Site

SEED = os.environ.get("QMTL_CHAOS_SEED") or str(random.SystemRandom().randrange(100_000))
# One turn: every group of points once, and the random instants.
KILLS = len(POINTS) + RANDOM_IN_TURN


@pytest.fixture
def site(kafka: str, empty_neo4j: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(
        f"k{SEED}t{random.SystemRandom().randrange(10_000)}w", tmp_path, kafka, empty_neo4j, shares=2
    )
    found.open()
    yield found
    found.close()


def test_kills_at_every_point_lose_nothing_and_leave_nothing_behind(site: Site) -> None:
    campaign = Campaign(site, SEED, KILLS)
    campaign.run_kills()
    report = campaign.audit_site()
    text = (
        f"seed {SEED}, killed at {dict(campaign.counts.kills)}\n{audit_text(report.counts, report.findings)}"
    )
    print(text)
    assert report.findings == (), text
    assert campaign.counts.kills.total() == KILLS
    assert [name for name, count, _ in by_group(campaign.counts.kills) if not count] == []
    assert report.counts["submissions answered"] >= KILLS


def test_no_targets_no_faults() -> None:
    with FaultInjector((), SEED, lambda: 0) as injector:
        pass
    assert not injector.injected
