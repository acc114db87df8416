"""Safe mode shares nothing and announces nothing (docs/semantics.md 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from dagmanager.engine.model.rows import NodeRow, QueueRow
from dagmanager.engine.model.version_rows import HolderRow, SentinelRow
from dagmanager.errors import ErrorCode
from tests.engine.builders import (
    DAY_MS,
    POLICY,
    START_MS,
    Stores,
    accepted,
    engine,
    refused,
    submission,
    topics_of,
)
from tests.engine.market import (
    MEAN,
    OTHER,
    PRICE,
    by_name,
)


def safe(nodes: list[dict[str, Any]], **fields: Any) -> Any:
    return submission(nodes, domain="backtest", **fields)


def test_safe_mode_shares_nothing_announces_nothing_and_leaves_no_version() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    before = (list(stores.events.published), stores.rows(SentinelRow), stores.rows(HolderRow))
    (answer,) = works.submit([safe([PRICE, MEAN], position=1)])
    assert accepted(answer).actions.isolate == 2
    assert accepted(answer).safe_mode
    assert accepted(answer).sentinel_id == "s1-sentinel"
    assert all("_safe_" in topic for topic in topics_of(answer))
    assert (stores.events.published, stores.rows(SentinelRow), stores.rows(HolderRow)) == before
    isolated = [row for row in stores.rows(QueueRow) if row.binding.safe]
    assert {row.spec.retention_ms for row in isolated} == {DAY_MS}
    assert {row.expires_ms for row in isolated} == {START_MS + DAY_MS}
    assert stores.graph.tagged(("BTC",), 60, "any", "")[0].topic == by_name(stores)["price"].topic


def test_a_safe_mode_repeat_gets_the_same_topics_until_they_expire() -> None:
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([safe([PRICE])])
    (again,) = works.submit([safe([PRICE], position=1)])
    assert topics_of(again) == topics_of(first)
    (other,) = works.submit([safe([PRICE], lineage="beta", position=2)])
    assert topics_of(other) != topics_of(first)
    stores.clock.now_ms += DAY_MS
    (later,) = works.submit([safe([PRICE], position=3)])
    assert topics_of(later) == [f"{topics_of(first)[0]}_v2"]


def test_a_node_known_from_safe_mode_only_is_new() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([safe([PRICE])])
    assert stores.rows(NodeRow)[0].safe_only
    (answer,) = works.submit([submission([PRICE], position=1)])
    assert accepted(answer).actions.create == 1
    assert not stores.rows(NodeRow)[0].safe_only
    (sentinel,) = stores.rows(SentinelRow)
    assert sentinel.introduced == (PRICE["node_id"],)


def test_safe_mode_has_a_limit() -> None:
    stores = Stores()
    works = engine(stores, policy=msgspec.structs.replace(POLICY, safe_mode_max_topics=2))
    works.submit([safe([PRICE, MEAN])])
    rows = stores.effects()
    (full,) = works.submit([safe([OTHER], position=1)])
    assert refused(full).code is ErrorCode.RATE_LIMITED
    assert stores.effects() == rows
    (repeat,) = works.submit([safe([PRICE, MEAN], position=2)])
    assert accepted(repeat).actions.isolate == 2
