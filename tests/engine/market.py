"""A small market to submit, and what the stores tell of it."""

from __future__ import annotations

from typing import Any

import orjson

from dagmanager.engine.model.rows import NodeRow, QueueRow
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from tests.engine.builders import (
    Stores,
    node,
)

PRICE = node("price", tags=["BTC", "spot"], node_type="PriceInput", schema_hash="h1")


MEAN = node("mean", tags=["BTC"], inputs=[PRICE], schema_hash="m1")


SIGNAL = node("signal", tags=["BTC"], inputs=[MEAN], schema_hash="g1")


OTHER = node("other", tags=["ETH"], schema_hash="o1")


def kinds(stores: Stores) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in stores.all_rows():
        counts[type(row).__name__] = counts.get(type(row).__name__, 0) + 1
    return counts


def by_name(stores: Stores) -> dict[str, QueueRow]:
    """Current queues of the base namespace by their node's name."""
    names = {row.node_id: row.name for row in stores.rows(NodeRow)}
    rows = sorted(stores.rows(QueueRow), key=lambda row: row.incarnation)
    return {names[row.binding.node_id]: row for row in rows if row.binding[1:] == ("", "")}


def payloads(stores: Stores) -> list[dict[str, Any]]:
    return [orjson.loads(row.value)["data"] for row in stores.events.published]


def queue_events(stores: Stores) -> list[dict[str, Any]]:
    return [each for each in payloads(stores) if each["type"] == "QueueUpdated"]


def weight_events(stores: Stores) -> list[tuple[str, float]]:
    return [
        (each["sentinel_version"], each["weight"])
        for each in payloads(stores)
        if each["type"] == "SentinelWeightUpdated"
    ]


def active(stores: Stores) -> dict[str, float]:
    return {
        row.key.version: row.weight for row in stores.rows(SentinelRow) if row.state is SentinelState.ACTIVE
    }
