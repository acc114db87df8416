"""The content of a store, without times, owners and random ids: equal worlds give equal texts."""

from __future__ import annotations

from typing import Any

import orjson

from dagmanager.engine.model.rows import CounterRow, NodeRow, OutcomeRow, QueueRow, TagSetRow
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.wire.message import Message
from tests.engine.crash_scenarios import undated
from tests.flows.crashing import World

# A crash or a batch edge may move these: the store's clock, who claimed, the broker's random ids.
LOOSE = {"created_ms", "lease_until_ms", "last_seen_ms", "owner", "topic_id", "begun", "unreferenced_ms"}
LOOSE |= {"expires_ms", "weight_revision"}
RACED = ("introduced", "base_name", "schemas")


def stores(world: World, raced: bool = False) -> dict[str, Any]:
    """Rows by type and key, and topics by name.

    Left out is what batch edges may move while no answer changes: which sets were announced and how often, whether
    a node was joined (its outcome is stored) or there already (it is not), and a claim that was superseded
    before it was activated. If strategies `raced` for a node, also who introduced it and how it was named.
    """
    rows: dict[str, Any] = {f"topic {name}": True for name in world.topics.names() if not raced}
    for row in world.graph.rows():
        if isinstance(row, QueueRow):
            rows[repr(row.binding)] = row.state
        if isinstance(row, OutcomeRow | CounterRow | TagSetRow) or (raced and isinstance(row, QueueRow)):
            continue
        kept = {name: getattr(row, name) for name in row.__struct_fields__ if name not in LOOSE}
        if isinstance(row, SentinelRow):
            kept.pop("claim_id")
            if row.state is SentinelState.PARKED:  # or superseded, as the reading order decides
                kept["state"] = SentinelState.SUPERSEDED
        if isinstance(row, NodeRow):  # schemas are dated by the store's clock, which a crash moves
            kept["schemas"] = undated(row.schemas)
            kept["buffering_since_ms"] = None if row.buffering_since_ms is None else 0
        for name in RACED if raced else ():
            kept.pop(name, None)
        rows[type(row).__name__ + repr(row.key)] = kept
    return rows


def answered(message: Message) -> list[str]:
    """What kinds of answer a record tells of."""
    answer = orjson.loads(message.value)
    if answer["status"] == "rejected":
        return ["rejected", answer["error"]["code"]]
    return [action for action, count in answer["actions"].items() if count]


def submission_of(message: Message) -> tuple[str, str]:
    """Which submission, for which world."""
    answer = orjson.loads(message.value)
    return answer["submission_id"], answer["world_id"]


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """With the few rows that differ in the message, not thousands that do not."""
    names = sorted(found.keys() | expected.keys())
    wrong = [
        (name, found.get(name), expected.get(name)) for name in names if found.get(name) != expected.get(name)
    ]
    assert not wrong, (len(wrong), wrong[:3])
