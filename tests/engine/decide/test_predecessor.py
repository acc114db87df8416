"""The version that a submission would replace."""

from __future__ import annotations

import pytest

from dagmanager.engine.decide.predecessor import IN_FORCE, predecessor
from dagmanager.engine.decide.submission_keys import lineage_key
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from tests.engine.builders import START_MS, node, submission
from tests.graph.builders import sentinel

ONE = submission([node("price")], lineage="beta")


def known(*rows: SentinelRow) -> Known:
    sentinels = {lineage_key(ONE): rows}
    return Known(nodes={}, queues={}, epoch=0, safe_topics=0, now_ms=START_MS, sentinels=sentinels)


def row(
    revision: int, *, weight: float = 1.0, created_ms: int = 0, state: SentinelState = SentinelState.ACTIVE
) -> SentinelRow:
    return SentinelRow(
        key=sentinel("c", "beta", revision=revision).key,
        content="c",
        state=state,
        weight=weight,
        commit_hash="c",
        created_ms=created_ms,
    )


def test_a_new_lineage_has_none() -> None:
    assert predecessor(ONE, known()) is None


def test_it_is_the_version_with_the_largest_weight() -> None:
    rows = [row(1, weight=0.7, created_ms=1), row(2, weight=0.3, created_ms=2)]
    assert predecessor(ONE, known(*rows)) == rows[0]
    assert predecessor(ONE, known(*reversed(rows))) == rows[0]


def test_of_equal_weights_it_is_the_newest() -> None:
    rows = [row(1, weight=0.5, created_ms=1), row(2, weight=0.5, created_ms=2)]
    assert predecessor(ONE, known(*rows)) == predecessor(ONE, known(*reversed(rows))) == rows[1]


@pytest.mark.parametrize("state", list(SentinelState))
def test_only_active_and_pending_versions_count(state: SentinelState) -> None:
    one = row(1, state=state)
    expected = one if state in (SentinelState.ACTIVE, SentinelState.PENDING) else None
    assert predecessor(ONE, known(one)) == expected
    assert (state in IN_FORCE) is (expected is not None)


def test_safe_mode_replaces_nothing() -> None:
    isolated = submission([node("price")], lineage="beta", domain="")
    rows = {lineage_key(isolated): (row(1),)}
    found = Known(nodes={}, queues={}, epoch=0, safe_topics=0, now_ms=START_MS, sentinels=rows)
    assert predecessor(isolated, found) is None
