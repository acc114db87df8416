"""A topic that the broker lost is found and recorded; an outage proves nothing."""

from __future__ import annotations

import itertools

import pytest

from dagmanager.engine.effects.lost_topics import (
    LOST_AT_ONCE,
    MissingTopic,
    find_missing,
)
from dagmanager.engine.model.rows import QueueState
from dagmanager.engine.model.topics_port import LostReason
from dagmanager.errors import UnavailableError
from tests.engine.broken_broker import (
    PRICE,
    World,
)
from tests.engine.builders import (
    engine,
    node,
    submission,
    topics_of,
)
from tests.graph.builders import queue


def test_a_topic_is_lost_when_it_is_absent_in_three_rounds(world: World) -> None:
    topic = world.lose("PriceInput")
    epoch = world.stores.graph.epoch()
    assert [world.round() for _ in range(4)] == [[], [], [topic], []]
    assert sorted(world.states().values()) == [QueueState.ACTIVE, QueueState.LOST]
    assert world.states()[topic] is QueueState.LOST
    assert world.losses.found == [(topic, LostReason.GONE)]
    assert world.stores.graph.epoch() == epoch + 1


def test_fast_rounds_must_still_span_the_time_a_broker_needs_to_start(world: World) -> None:
    topic = world.lose("PriceInput")
    assert world.process.find_lost() == ()
    for _ in range(10):
        world.now_s += 0.9
        assert world.process.find_lost() == ()
    world.now_s += 1
    (lost,) = world.process.find_lost()
    assert lost.queue.topic == topic


def test_a_topic_that_reappears_was_never_lost(world: World) -> None:
    (price, _) = world.stores.topics.names()
    world.broker.hidden = {price}
    assert [world.round(), world.round()] == [[], []]
    world.broker.hidden = set()
    assert world.round() == []
    world.broker.hidden = {price}
    assert [world.round(), world.round()] == [[], []]  # counted from the beginning
    assert world.round() == [price]


def test_an_outage_clears_all_suspicion(world: World) -> None:
    topic = world.lose("PriceInput")
    assert [world.round(), world.round()] == [[], []]
    world.broker.away = True
    for _ in range(5):
        with pytest.raises(UnavailableError):
            world.round()
    world.broker.away = False
    assert [world.round() for _ in range(3)] == [[], [], [topic]]


def test_a_topic_with_another_id_was_replaced(world: World) -> None:
    topic = world.lose("PriceInput")
    world.stores.topics.create({topic: world.stores.queues()[topic].spec})
    theirs = world.stores.topics.describe([topic])[topic]
    assert [world.round() for _ in range(3)] == [[], [], [topic]]
    assert world.losses.found == [(topic, LostReason.REPLACED)]
    (again,) = world.process.submit([submission([PRICE], strategy="s2", position=1)])
    assert topics_of(again) == [f"{topic}_v2"]
    assert world.stores.topics.describe([topic])[topic] == theirs  # and it is left alone


def test_what_counts_as_missing() -> None:
    asked = {"ours": "1", "gone": "2", "theirs": "3", "nameless": "", "nameless_gone": ""}
    assert find_missing(asked, {"ours": "1", "theirs": "9", "nameless": "9", "unasked": "9"}) == (
        MissingTopic("gone", "2", ""),
        MissingTopic("nameless_gone", "", ""),
        MissingTopic("theirs", "3", "9"),
    )


def test_each_round_describes_one_page_and_all_pages_follow() -> None:
    world = World()
    rows = [queue(f"t{number:02}", f"n{number}") for number in range(10)]
    ended = [queue(f"t{number:02}x", f"e{number}", state=QueueState.DROPPED) for number in range(3)]
    world.stores.put(*rows, *ended)
    world.stores.topics.create({row.topic: row.spec for row in rows})
    world.process = world.watching(page=4)
    for _ in range(8):
        world.round()
    asked = [[name for name in names if name.startswith("t")] for names in world.broker.asked]
    assert max(map(len, asked[:4])) <= 4
    assert sorted(itertools.chain(*asked[:4])) == [row.topic for row in rows]  # no tombstone, none twice


def test_without_a_watch_no_topic_is_asked_for(world: World) -> None:
    world.process = engine(world.stores, topics=world.broker)
    world.broker.asked.clear()
    world.lose("PriceInput")
    assert world.round() == []
    assert world.broker.asked == []


def test_many_lost_topics_are_recorded_in_several_transactions() -> None:
    world = World()
    nodes = [node(f"n{number}", code=str(number)) for number in range(LOST_AT_ONCE + 5)]
    world.process.submit([submission(nodes)])
    world.stores.topics.delete(world.stores.topics.names())
    epoch = world.stores.graph.epoch()
    found = [len(world.round()) for _ in range(4)]
    assert found == [0, 0, LOST_AT_ONCE + 5, 0]
    assert world.stores.graph.epoch() == epoch + 2
