"""Outbox rows leave in order of revision; a crash repeats bytes, it never loses or invents any."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.ports import Watched, WatchedGraph
from dagmanager.engine.events import Moment, queue_updated
from dagmanager.engine.publish import BATCH, in_order, publish_waiting
from dagmanager.engine.rows import OutboxRow, TagSetKey
from tests.engine.builders import START_MS, Stores
from tests.engine.crashing import CrashedError, Fuse


def event(revision: int, tag: str = "BTC", at_ms: int = START_MS) -> OutboxRow:
    return queue_updated(TagSetKey((tag,), 60), "any", (), Moment(revision, at_ms))


def published(stores: Stores) -> list[tuple[str, int]]:
    return [(row.message_key, row.revision) for row in stores.events.published]


def test_events_leave_in_order_of_revision_whatever_the_clock_said() -> None:
    stores = Stores()
    stores.put(event(3, at_ms=START_MS), event(1, at_ms=START_MS + 2), event(2, at_ms=START_MS + 1))
    assert publish_waiting(stores.graph, stores.events) == 3
    assert published(stores) == [("BTC", 1), ("BTC", 2), ("BTC", 3)]
    assert stores.rows(OutboxRow) == []


def test_what_is_older_than_a_published_one_is_dropped() -> None:
    stores = Stores()
    stores.put(event(2))
    publish_waiting(stores.graph, stores.events)
    stores.put(event(1), event(1, tag="ETH"), event(3))
    assert publish_waiting(stores.graph, stores.events) == 2
    assert published(stores) == [("BTC", 2), ("ETH", 1), ("BTC", 3)]
    assert stores.rows(OutboxRow) == []


def test_nothing_waiting_writes_and_sends_nothing() -> None:
    stores = Stores()
    assert publish_waiting(stores.graph, stores.events) == 0
    assert stores.all_rows() == ()
    assert stores.events.published == []


def test_more_than_one_batch_is_sent_whole() -> None:
    stores = Stores()
    stores.put(*(event(number + 1) for number in range(BATCH + 3)))
    assert publish_waiting(stores.graph, stores.events) == BATCH + 3
    assert [revision for _, revision in published(stores)] == list(range(1, BATCH + 4))


@pytest.mark.parametrize("point", range(1, 5))
def test_a_crash_between_sending_and_marking_repeats_the_same_bytes(point: int) -> None:
    stores = Stores()
    rows = [event(1), event(2), event(1, tag="ETH")]
    stores.put(*rows)
    fuse = Fuse(point)
    with pytest.raises(CrashedError):
        publish_waiting(WatchedGraph(stores.graph, fuse), Watched(stores.events, fuse))
    publish_waiting(stores.graph, stores.events)
    assert {row.event_id: row.value for row in stores.events.published} == {r.event_id: r.value for r in rows}
    assert {(row.event_id, row.value) for row in stores.events.published} == {
        (r.event_id, r.value) for r in rows
    }
    assert stores.rows(OutboxRow) == []


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 9)), unique=True),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9)),
)
def test_streams_only_grow_and_end_at_their_newest(
    found: Sequence[tuple[str, int]], before: dict[str, int]
) -> None:
    waiting = tuple(event(revision, tag) for tag, revision in found)
    last = {row.stream: before.get(row.message_key, 0) for row in waiting}
    due, newest = in_order(waiting, last)
    for stream, first in last.items():
        sent = [row.revision for row in due if row.stream == stream]
        every = [row.revision for row in waiting if row.stream == stream]
        assert sent == sorted(revision for revision in every if revision > first)
        assert newest[stream] == max([first, *every])
