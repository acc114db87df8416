from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.engine.model.graph_port import TaggedQueue
from dagmanager.engine.model.rows import OutboxRow, OutboxState, TagSetKey
from dagmanager.engine.wire.events import (
    EventStamp,
    QueueChange,
    Scope,
    queue_lifecycle,
    queue_updated,
    sentinel_weight_updated,
    timestamp,
)

AT_MS = 1_756_371_600_000  # 2025-08-28T09:00:00Z
W1 = Scope("w1", "live")
QUEUES = (TaggedQueue("q2", True, ("BTC", "price")), TaggedQueue("q1", False, ("BTC", "price")))


def updated(
    tags: tuple[str, ...] = ("price", "BTC"), mode: str = "any", revision: int = 7, scope: Scope | None = None
) -> OutboxRow:
    return queue_updated(TagSetKey(tags, 60), mode, QUEUES, EventStamp(revision, AT_MS), scope or Scope())


def dropped(**fields: Any) -> OutboxRow:
    change = QueueChange("w1.live.btc_Node_0123abcd_v1", "drop", "ttl_expired", **fields)
    return queue_lifecycle(change, EventStamp(3, AT_MS), W1)


def weighed(weight: float = 0.25, revision: int = 4, scope: Scope = W1) -> OutboxRow:
    return sentinel_weight_updated("s_123-sentinel", "v1.2.3", weight, EventStamp(revision, AT_MS), scope)


def data(row: OutboxRow) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(row.value)["data"]
    return payload


@pytest.mark.parametrize(
    ("event", "event_type"),
    [(updated, "queue_updated"), (dropped, "queue_lifecycle"), (weighed, "sentinel_weight_updated")],
)
def test_every_event_is_a_structured_cloud_event(event: Callable[[], OutboxRow], event_type: str) -> None:
    row = event()
    envelope = json.loads(row.value)
    payload = envelope.pop("data")
    assert envelope == {
        "specversion": "1.0",
        "id": row.event_id,
        "source": "qmtl.services.dagmanager",
        "type": event_type,
        "time": "2025-08-28T09:00:00.000Z",
        "datacontenttype": "application/json",
    }
    assert payload["version"] == 1
    assert payload["revision"] == row.revision
    assert payload["ts"] == envelope["time"]
    assert payload["idempotency_key"] == row.event_id
    assert str(row.revision) == payload["etag"].rsplit(":", 1)[1]
    assert (row.state, row.created_ms) == (OutboxState.WAITING, AT_MS)


def test_queue_updated() -> None:
    row = updated(scope=W1)
    assert (row.channel, row.message_key) == ("queue", "BTC,price")
    assert data(row) == {
        "type": "QueueUpdated",
        "tags": ["BTC", "price"],
        "interval": 60,
        "queues": [{"queue": "q1", "global": False}, {"queue": "q2", "global": True}],
        "match_mode": "any",
        "version": 1,
        "revision": 7,
        "etag": "q:BTC.price:60:7",
        "idempotency_key": "queue_updated:BTC.price:60:any:7",
        "world_id": "w1",
        "execution_domain": "live",
        "ts": "2025-08-28T09:00:00.000Z",
    }
    assert not {"world_id", "execution_domain"} & set(data(updated()))


def test_a_list_outdates_only_its_own_kind() -> None:
    rows = [
        updated(),
        updated(mode="all"),
        updated(scope=W1),
        updated(scope=Scope("w1", "backtest")),
        updated(("BTC",)),
        updated(("a.b",)),
        updated(("a", "b")),
        updated(("a:60",)),
    ]
    assert len({row.stream for row in rows}) == len(rows)
    assert updated(revision=8).stream == updated(revision=7).stream


def test_tags_with_separators_keep_their_own_rows() -> None:
    apart = [updated(("a.b",)), updated(("a", "b"))]
    assert {data(row)["etag"] for row in apart} == {"q:a.b:60:7"}
    assert len({row.event_id for row in apart}) == 2
    assert len({row.message_key for row in apart}) == 2


@given(
    st.lists(
        st.lists(st.text("ab.:", min_size=1, max_size=3), max_size=3).map(sorted), min_size=2, max_size=2
    )
)
def test_different_tag_sets_never_share_a_row(pair: list[list[str]]) -> None:
    one, two = (updated(tuple(tags)) for tags in pair)
    assert (one.event_id == two.event_id) == (pair[0] == pair[1])
    assert (one.stream == two.stream) == (pair[0] == pair[1])


def test_queue_lifecycle() -> None:
    queue = "w1.live.btc_Node_0123abcd_v1"
    row = dropped(tag="raw", interval=60, archive_status="verified")
    assert (row.channel, row.message_key, row.stream) == ("queue", queue, f"ql:{queue}")
    assert row.event_id == data(row)["idempotency_key"]
    assert data(row) == {
        "type": "QueueLifecycle",
        "queue": queue,
        "action": "drop",
        "reason": "ttl_expired",
        "tag": "raw",
        "interval": 60,
        "archive_status": "verified",
        "version": 1,
        "revision": 3,
        "etag": f"ql:{queue}:drop:ttl_expired:3",
        "idempotency_key": f"queue_lifecycle:{queue}:drop:ttl_expired:3",
        "world_id": "w1",
        "execution_domain": "live",
        "ts": "2025-08-28T09:00:00.000Z",
    }
    assert not {"tag", "interval", "archive_status"} & set(data(dropped()))
    assert data(dropped(interval=0))["interval"] == 0


def test_sentinel_weight_updated() -> None:
    row = weighed()
    assert (row.channel, row.message_key) == ("sentinel_weight", "s_123-sentinel")
    assert data(row) == {
        "type": "SentinelWeightUpdated",
        "sentinel_id": "s_123-sentinel",
        "weight": 0.25,
        "sentinel_version": "v1.2.3",
        "version": 1,
        "revision": 4,
        "etag": "sw:s_123-sentinel:v1.2.3:0.250000:4",
        "idempotency_key": "sentinel_weight_updated:s_123-sentinel:v1.2.3:0.250000:4",
        "world_id": "w1",
        "execution_domain": "live",
        "ts": "2025-08-28T09:00:00.000Z",
    }
    assert weighed(scope=Scope("w2", "live")).stream != row.stream


@pytest.mark.parametrize(
    ("weight", "text"), [(1, "1.0"), (0, "0.0"), (-0.0, "0.0"), (7, "1.0"), (-1, "0.0"), (0.1, "0.1")]
)
def test_a_weight_is_a_json_float_between_0_and_1(weight: float, text: str) -> None:
    assert f'"weight":{text},'.encode() in weighed(weight).value


def test_a_repeat_is_byte_equal_and_a_change_is_not() -> None:
    assert weighed() == weighed()
    assert updated() == queue_updated(
        TagSetKey(("BTC", "price"), 60), "any", QUEUES[::-1], EventStamp(7, AT_MS), Scope()
    )
    assert data(updated(revision=8))["etag"] != data(updated(revision=7))["etag"]


@given(st.integers(0, 4_102_444_800_000))
def test_time_is_exact_to_the_millisecond(at_ms: int) -> None:
    text = timestamp(at_ms)
    assert text.endswith("Z")
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == at_ms
