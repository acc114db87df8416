from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from dagmanager.dag.record.compute_key import message_key, partition_key
from dagmanager.errors import SettingsError
from operators.deduplicate import Identity, Seen, deduplicate, identity_of

HOUR = timedelta(hours=1)


def key(node: str, bucket: int, window: str, compute_key: str | None = None) -> str:
    return message_key(partition_key(node, 60, bucket, compute_key), window)


def test_repeats_are_dropped_and_everything_else_passes() -> None:
    keys = [
        key("blake3:a", 60, "w"),
        key("blake3:a", 60, "w", "blake3:c"),
        key("blake3:a", 120, "w"),
        key("blake3:b", 60, "w"),
    ]
    given = [(each, number) for number, each in enumerate([*keys, *keys])]
    found: list[Any] = []
    flow = Dataflow("test")
    messages = op.input("input", flow, TestingSource(given, batch_size=3))
    keyed = op.map("by_node", messages, lambda item: (identity_of(item[0]).node_id, item))
    op.output("output", deduplicate("once", keyed, lambda item: identity_of(item[0])), TestingSink(found))
    run_main(flow)
    assert sorted(item for _, item in found) == sorted(given[:4])


def test_a_message_key_is_taken_apart_as_it_is_made() -> None:
    assert identity_of(key("blake3:a", 5, "w")) == Identity("blake3:a", 5, "w")
    assert identity_of(key("blake3:a", 0, "w", "blake3:c")) == Identity("blake3:a", 0, "w", "blake3:c")
    assert identity_of(key("blake3:1", 5, "blake3:w")) == Identity("blake3:1", 5, "blake3:w")
    assert identity_of(key("blake3:1", 5, "blake3:w", "blake3:c")) == Identity(
        "blake3:1", 5, "blake3:w", "blake3:c"
    )
    for wrong in ("", "a", "a:b", "a:1:x:w"):
        with pytest.raises(ValueError, match=r"not a message key|invalid literal"):
            identity_of(wrong)


def seen(now: list[datetime], state: dict[str, Any] | None = None, most: int = 256) -> Seen[str]:
    return Seen(state, identity_of, HOUR, most, lambda: now[0])


def test_memory_expires_is_bounded_and_survives_a_restart() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    one, two, three = (key("n:1", bucket, "w") for bucket in (1, 2, 3))
    logic = seen(now, most=2)
    for each in (one, two, one):
        logic.on_item(each)
    assert logic.notify_at() == now[0] + HOUR
    state = pickle.loads(pickle.dumps(logic.snapshot()))
    assert list(seen(now, state).on_item(one)[0]) == []
    logic.on_item(three)
    assert list(logic.on_item(one)[0]) == [one], "the oldest was forgotten"
    now[0] += HOUR
    assert logic.on_notify() == ([], Seen.DISCARD)
    assert list(logic.on_item(one)[0]) == [one]


def test_a_snapshot_of_another_version_is_refused_instead_of_letting_repeats_pass() -> None:
    with pytest.raises(SettingsError, match="state of version 2, unknown to this release: use the release"):
        seen([datetime(2026, 1, 1, tzinfo=UTC)], {"v": 2, "seen": []})
