"""Outbox rows leave in order of revision; a crash repeats bytes, it never loses or invents any."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.ports import Watched, WatchedGraph
from dagmanager.engine.effects.outbox import BATCH, next_batch, publish_outbox
from dagmanager.engine.model.rows import OutboxRow, TagSetKey
from dagmanager.engine.wire.events import (
    EventStamp,
    QueueChange,
    queue_lifecycle,
    queue_updated,
    sentinel_weight_updated,
)
from tests.engine.builders import START_MS, Stores
from tests.engine.crashing import CrashedError, Fuse


def event(revision: int, tag: str = "BTC", at_ms: int = START_MS) -> OutboxRow:
    return queue_updated(TagSetKey((tag,), 60), "any", (), EventStamp(revision, at_ms))


def published(stores: Stores) -> list[tuple[str, int]]:
    return [(row.message_key, row.revision) for row in stores.events.published]


def step(revision: int, action: str) -> OutboxRow:
    return queue_lifecycle(QueueChange("q", action, "why"), EventStamp(revision, START_MS))


def test_events_are_published_in_order_of_revision_whatever_their_times() -> None:
    stores = Stores()
    stores.put(event(3, "c", START_MS), event(1, "a", START_MS + 2), event(2, "b", START_MS + 1))
    assert publish_outbox(stores.graph, stores.events) == 3
    assert published(stores) == [("a", 1), ("b", 2), ("c", 3)]
    assert stores.rows(OutboxRow) == []


def test_of_several_lists_in_the_outbox_only_the_newest_is_published() -> None:
    stores = Stores()
    stores.put(event(3), event(1), event(2), event(2, tag="ETH"))
    assert publish_outbox(stores.graph, stores.events) == 2
    assert published(stores) == [("ETH", 2), ("BTC", 3)]
    assert stores.rows(OutboxRow) == []


def weight(revision: int, value: float) -> OutboxRow:
    return sentinel_weight_updated("s-sentinel", f"v{revision}", value, EventStamp(revision, START_MS))


@pytest.mark.parametrize("rows", [(step(2, "drop"), step(1, "recompute")), (weight(2, 0.1), weight(1, 0.9))])
def test_every_weight_and_lifecycle_event_is_published_one_of_a_stream_per_batch(
    rows: tuple[OutboxRow, ...],
) -> None:
    stores = Stores()
    stores.put(*rows)
    batches: list[list[int]] = []

    class Batches:
        def publish(self, events: Sequence[OutboxRow]) -> None:
            batches.append([row.revision for row in events])

    assert publish_outbox(stores.graph, Batches()) == 2
    assert batches == [[1], [2]]
    assert stores.rows(OutboxRow) == []


def test_an_event_older_than_a_published_one_of_its_stream_is_dropped() -> None:
    stores = Stores()
    stores.put(event(2))
    publish_outbox(stores.graph, stores.events)
    stores.put(event(1), event(1, tag="ETH"), event(3))
    assert publish_outbox(stores.graph, stores.events) == 2
    assert published(stores) == [("BTC", 2), ("ETH", 1), ("BTC", 3)]
    assert stores.rows(OutboxRow) == []


def test_an_empty_outbox_writes_and_sends_nothing() -> None:
    stores = Stores()
    assert publish_outbox(stores.graph, stores.events) == 0
    assert stores.all_rows() == ()
    assert stores.events.published == []


def test_an_outbox_of_several_batches_is_published_whole() -> None:
    stores = Stores()
    stores.put(*(event(number + 1, tag=str(number)) for number in range(BATCH + 3)))
    assert publish_outbox(stores.graph, stores.events) == BATCH + 3
    assert sorted(revision for _, revision in published(stores)) == list(range(1, BATCH + 4))


@pytest.mark.parametrize("point", range(1, 5))
def test_a_crash_between_sending_and_marking_repeats_the_same_bytes(point: int) -> None:
    stores = Stores()
    rows = [event(2), event(1, tag="ETH")]
    stores.put(*rows)
    fuse = Fuse(point)
    with pytest.raises(CrashedError):
        publish_outbox(WatchedGraph(stores.graph, fuse), Watched(stores.events, fuse))
    publish_outbox(stores.graph, stores.events)
    assert {row.event_id: row.value for row in stores.events.published} == {r.event_id: r.value for r in rows}
    assert {(row.event_id, row.value) for row in stores.events.published} == {
        (r.event_id, r.value) for r in rows
    }
    assert stores.rows(OutboxRow) == []


@given(st.data())
def test_a_client_that_keeps_the_last_event_of_a_set_never_gets_an_older_one_despite_crashes(
    data: st.DataObject,
) -> None:
    """Changes, publishing and crashes in any order."""
    stores = Stores()
    revisions = {"a": 0, "b": 0}
    for _ in range(data.draw(st.integers(1, 6))):
        for tag in data.draw(st.lists(st.sampled_from(["a", "b"]), max_size=4)):
            revisions[tag] += 1
            stores.put(event(revisions[tag], tag))
        fuse = Fuse(data.draw(st.integers(1, 6)))
        with suppress(CrashedError):
            publish_outbox(WatchedGraph(stores.graph, fuse), Watched(stores.events, fuse))
    publish_outbox(stores.graph, stores.events)
    for tag, newest in revisions.items():
        seen = [revision for key, revision in published(stores) if key == tag]
        assert seen == sorted(seen)
        assert newest == max(seen, default=0)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 9)), unique=True),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9)),
)
def test_the_revisions_of_a_stream_only_grow_and_end_at_the_newest(
    found: Sequence[tuple[str, int]], before: dict[str, int]
) -> None:
    waiting = tuple(event(revision, tag) for tag, revision in found)
    last = {row.stream: before.get(row.message_key, 0) for row in waiting}
    batch = next_batch(waiting, last)
    assert batch.later == []
    for stream, first in last.items():
        sent = [row.revision for row in batch.due if row.stream == stream]
        every = [row.revision for row in waiting if row.stream == stream]
        assert sent == [max(every)] * (max(every) > first)
        assert batch.newest[stream] == max([first, *every])
