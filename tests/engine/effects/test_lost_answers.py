"""What is answered and announced once a topic is lost (docs/semantics.md 7, 8)."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chaos.ports import Watched, WatchedGraph, WatchedTopics
from dagmanager.engine.effects.lost_topics import LostTopicWatch
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.rows import OutboxRow, QueueState
from dagmanager.engine.model.topics_port import LostReason
from dagmanager.engine.stages import LookedUp
from dagmanager.errors import ErrorCode
from dagmanager.topics.memory import MemoryTopics
from tests.engine.broken_broker import (
    FIRST,
    HASTY,
    MEAN,
    PLAIN,
    PRICE,
    WATCH,
    World,
    events,
)
from tests.engine.builders import (
    START_MS,
    Stores,
    accepted,
    engine,
    refused,
    submission,
    topics_of,
)
from tests.engine.crashing import CrashedError, Fuse


def test_the_next_submission_gets_a_new_incarnation(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (answer,) = world.process.submit([submission([PRICE, MEAN], strategy="s2", position=1)])
    assert topics_of(answer)[0] == f"{topic}_v2"
    assert (accepted(answer).actions.create, accepted(answer).actions.reuse) == (1, 1)
    assert set(world.stores.topics.names()) == set(topics_of(answer))
    assert [world.round() for _ in range(4)] == [[]] * 4


def test_a_replay_is_expired_and_names_the_lost_queue(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([FIRST])
    assert (refused(again).code, refused(again).got) == (ErrorCode.EXPIRED, topic)


def test_an_identical_resend_of_a_version_in_force_creates_the_queue_again(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([submission([PRICE, MEAN], position=1, at_ms=START_MS + 1)])
    assert topics_of(again)[0] == f"{topic}_v2"


def test_an_identical_resend_of_a_superseded_version_is_expired(world: World) -> None:
    """Its holder still says so, but another strategy id put another version in force."""
    topic = world.lose("PriceInput")
    other = submission([MEAN, PLAIN], strategy="s2", version="v2", position=1, at_ms=START_MS + 1)
    world.process.submit([other])
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([submission([PRICE, MEAN], position=2, at_ms=START_MS + 2)])
    assert (refused(again).code, refused(again).got) == (ErrorCode.EXPIRED, topic)


def test_a_plan_from_before_the_loss_is_planned_again(world: World) -> None:
    [looked_up] = world.process.lookup([submission([PRICE], strategy="s2", position=1)])
    assert isinstance(looked_up, LookedUp)
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (answer,) = world.process.upsert([world.process.classify(looked_up)])
    assert topics_of(answer) == [f"{topic}_v2"]


def test_a_lost_topic_invalidates_the_caches_of_other_processes(world: World) -> None:
    """The epoch ends its memory: at once where the loss was noticed, elsewhere with the next reading of the graph."""
    other = engine(world.stores, "other", topics=world.broker, epoch_clock=lambda: world.now_s)
    ask = itertools.count(1)

    def asked(process: Engine) -> str:
        position = next(ask)
        one = submission([PRICE, MEAN], strategy="s2", position=position, at_ms=START_MS + position)
        return topics_of(process.submit([one])[0])[0]

    topic = asked(other)
    assert {asked(process) for process in (world.process, other) * 3} == {topic}
    world.lose("PriceInput")
    for _ in range(3):
        world.round()
    assert [asked(other), asked(world.process), asked(other)] == [f"{topic}_v2"] * 3


def test_a_lost_queue_is_announced_and_leaves_its_tag_sets() -> None:
    world = World()
    world.process.submit([submission([WATCH], lineage="w", strategy="w", world="w1")])
    world.process.submit([submission([PRICE, MEAN], position=1, world="w1")])
    world.stores.events.published.clear()
    price = world.lose("PriceInput")
    (mean,) = (topic for topic in world.stores.topics.names() if "ProcessingNode" in topic)
    for _ in range(3):
        world.round()
    world.process.publish()
    found = {each["type"]: each for each in events(world.stores)}
    assert len(events(world.stores)) == len(found) == 2
    assert found["QueueUpdated"]["queues"] == [{"queue": mean, "global": False}]
    assert (found["QueueUpdated"]["tags"], found["QueueUpdated"]["interval"]) == (["BTC"], 60)
    end = {name: found["QueueLifecycle"][name] for name in ("queue", "action", "reason", "tag", "interval")}
    assert end == {"queue": price, "action": "drop", "reason": "lost", "tag": "raw", "interval": 60}
    for each in found.values():
        assert (each["world_id"], each["execution_domain"]) == ("w1", "live")
    before = found["QueueUpdated"]["revision"]
    world.process.submit([submission([PRICE, MEAN], strategy="s2", position=2, world="w1")])
    last = events(world.stores)[-1]
    assert {each["queue"] for each in last["queues"]} == {mean, f"{price}_v2"}
    assert last["revision"] == before + 1


def test_for_a_lost_queue_without_tags_only_its_end_is_announced() -> None:
    world = World()
    world.process.submit([submission([PLAIN])])
    world.stores.events.published.clear()
    topic = world.lose("ProcessingNode")
    for _ in range(3):
        world.round()
    world.process.publish()
    assert [(each["type"], each["queue"]) for each in events(world.stores)] == [("QueueLifecycle", topic)]


def test_a_lost_safe_mode_topic_is_created_again_and_not_announced() -> None:
    world = World()
    one = {"domain": "backtest"}
    (first,) = world.process.submit([submission([PRICE], **one)])
    (topic,) = topics_of(first)
    world.lose("_safe_")
    assert [world.round() for _ in range(3)] == [[], [], [topic]]
    assert world.stores.rows(OutboxRow) == []
    (again,) = world.process.submit([submission([PRICE], position=1, at_ms=START_MS + 1, **one)])
    assert topics_of(again) == [f"{topic}_v2"]


def test_the_admin_log_has_the_time_when_the_loss_was_noticed(world: World) -> None:
    topic = world.lose("PriceInput")
    row = world.stores.queues()[topic]
    for _ in range(3):
        world.round()
    (entry,) = (each for each in world.stores.log.entries if each.action == "lost")
    assert (entry.topic, entry.topic_id, entry.spec) == (topic, row.topic_id, row.spec)
    assert (entry.node_id, entry.at_ms) == (row.binding.node_id, world.stores.clock.now_ms)


def test_of_several_processes_one_records_and_reports_the_loss(world: World) -> None:
    topic = world.lose("PriceInput")
    rivals = [world.watching(f"p{number}", **HASTY) for number in range(4)]
    with ThreadPoolExecutor(len(rivals)) as pool:
        found = list(pool.map(lambda rival: rival.find_lost(), rivals))
    assert sorted(len(each) for each in found) == [0, 0, 0, 1]
    assert world.losses.found == [(topic, LostReason.GONE)]
    world.process.publish()
    ends = [each["queue"] for each in events(world.stores) if each["type"] == "QueueLifecycle"]
    assert ends == [topic]


def test_a_topic_that_a_rival_created_again_is_not_declared_lost(world: World) -> None:
    """The evidence of a slow process is about an incarnation that is no more."""
    topic = world.lose("PriceInput")
    slow, fast = world.watching("slow", **HASTY), world.watching("fast", **HASTY)
    assert slow.lost_topics is not None
    evidence = slow.lost_topics.look(slow.graph, slow.topics)
    assert [each.topic for each in evidence] == [topic]
    assert len(fast.find_lost()) == 1
    fast.submit([submission([PRICE], strategy="s2", position=1)])
    assert slow.find_lost() == ()
    assert world.states() == {
        **dict.fromkeys(world.stores.topics.names(), QueueState.ACTIVE),
        topic: QueueState.LOST,
    }


def losing(stores: Stores, fuse: Fuse) -> None:
    """A process that notices, and may die at any touch of the world."""
    process = engine(
        stores,
        graph=WatchedGraph(stores.graph, fuse),
        topics=WatchedTopics(stores.topics, fuse),
        log=Watched(stores.log, fuse),
        events=Watched(stores.events, fuse),
        lost_topics=LostTopicWatch(lambda: 0.0, **HASTY),
    )
    process.find_lost()
    process.publish()


def test_after_a_crash_anywhere_the_next_process_ends_as_if_there_had_been_none() -> None:
    ends: set[tuple[Any, ...]] = set()
    for point in itertools.count():
        numbers = itertools.count(1)
        stores = Stores(topics=MemoryTopics(new_id=lambda numbers=numbers: f"id{next(numbers)}"))  # type: ignore[misc]  # bound now
        engine(stores).submit([FIRST])
        topic = next(each for each in stores.topics.names() if "PriceInput" in each)
        stores.topics.delete([topic])
        fuse, died = Fuse(point or None), False
        try:
            losing(stores, fuse)
        except CrashedError:
            died = True
        if point and not died:
            break
        losing(stores, Fuse())
        said = tuple(dict.fromkeys(row.value for row in stores.events.published))
        ends.add((stores.all_rows(), said, frozenset(each.topic for each in stores.log.entries)))
        assert stores.queues()[topic].state is QueueState.LOST
    assert point > 8
    assert len(ends) == 1
