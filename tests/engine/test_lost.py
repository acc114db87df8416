"""A topic that the broker lost is noticed, named, announced and made anew; an outage loses nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from chaos.ports import Watched, WatchedGraph, WatchedTopics
from dagmanager.engine.engine import Engine
from dagmanager.engine.lost import GONE, LOST_AT_ONCE, REPLACED, Missing, TopicWatch, missing_of
from dagmanager.engine.observer import Unobserved
from dagmanager.engine.ports import CreateResult, TopicConfig, TopicInfo
from dagmanager.engine.pulses import Pulses
from dagmanager.engine.rows import OutboxRow, QueueRow, QueueState, TopicSpec
from dagmanager.errors import ErrorCode, UnavailableError
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import (
    START_MS,
    Stores,
    engine,
    node,
    refused,
    submission,
    tag_query,
    told,
    topics_of,
)
from tests.engine.crashing import CrashedError, Fuse
from tests.graph.builders import queue

PRICE = node("price", tags=["BTC"], node_type="PriceInput", schema_hash="h1")
MEAN = node("mean", tags=["BTC", "mean"], inputs=[PRICE])
PLAIN = node("plain")
WATCH = tag_query("watch", ["BTC"])
FIRST = submission([PRICE, MEAN])
HASTY: Mapping[str, Any] = {"sightings": 1, "settled_s": 0.0}


@dataclass
class Forgetful:
    """A broker that hides topics, or is away; `asked` are the names it was asked to describe."""

    inner: MemoryTopics
    hidden: set[str] = field(default_factory=set)
    away: bool = False
    asked: list[list[str]] = field(default_factory=list)

    def brokers(self) -> int:
        return self.inner.brokers()

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        if self.away:
            raise UnavailableError("no answer in time")
        self.asked.append(list(topics))
        found = self.inner.describe(topics)
        return {name: info for name, info in found.items() if name not in self.hidden}

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        return self.inner.configs(topics)

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        return self.inner.create(specs)


@dataclass
class Told(Unobserved):
    names: list[tuple[str, str]] = field(default_factory=list)

    def lost(self, queue: QueueRow, why: str) -> None:
        self.names.append((queue.topic, why))


@dataclass
class World:
    """Stores, a forgetful broker, and one process that watches it every 5 s."""

    stores: Stores = field(default_factory=Stores)
    told: Told = field(default_factory=Told)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.broker = Forgetful(self.stores.topics)
        self.process = self.watching()

    def watching(self, owner: str = "one", **watch: Any) -> Engine:
        process = engine(self.stores, owner, topics=self.broker)
        process.watch = TopicWatch(lambda: self.now_s, **watch)
        process.observer = self.told
        return process

    def round(self) -> list[str]:
        """One poll; what it declared lost."""
        self.now_s += 5
        return [each.queue.topic for each in self.process.find_lost()]

    def states(self) -> dict[str, QueueState]:
        return {topic: row.state for topic, row in self.stores.queues().items()}

    def lose(self, name: str) -> str:
        """Somebody deletes the topic of this node; its name."""
        (topic,) = (each for each in self.stores.topics.names() if name in each)
        self.stores.topics.delete([topic])
        return topic


@pytest.fixture
def world() -> World:
    made = World()
    made.process.submit([FIRST])
    return made


def events(stores: Stores) -> list[dict[str, Any]]:
    return [orjson.loads(row.value)["data"] for row in stores.events.published]


# --- noticing


def test_a_topic_is_lost_when_it_was_missed_and_that_was_confirmed_twice(world: World) -> None:
    topic = world.lose("PriceInput")
    epoch = world.stores.graph.epoch()
    assert [world.round() for _ in range(4)] == [[], [], [topic], []]
    assert sorted(world.states().values()) == [QueueState.ACTIVE, QueueState.LOST]
    assert world.states()[topic] is QueueState.LOST
    assert world.told.names == [(topic, GONE)]
    assert world.stores.graph.epoch() == epoch + 1


def test_rounds_that_come_fast_must_still_last_as_long_as_a_broker_takes_to_come_back(world: World) -> None:
    topic = world.lose("PriceInput")
    assert world.process.find_lost() == ()
    for _ in range(10):
        world.now_s += 0.9
        assert world.process.find_lost() == ()
    world.now_s += 1
    (lost,) = world.process.find_lost()
    assert lost.queue.topic == topic


def test_a_topic_that_the_broker_knows_again_was_never_lost(world: World) -> None:
    (price, _) = world.stores.topics.names()
    world.broker.hidden = {price}
    assert [world.round(), world.round()] == [[], []]
    world.broker.hidden = set()
    assert world.round() == []
    world.broker.hidden = {price}
    assert [world.round(), world.round()] == [[], []]  # counted from the beginning
    assert world.round() == [price]


def test_an_outage_proves_nothing(world: World) -> None:
    topic = world.lose("PriceInput")
    assert [world.round(), world.round()] == [[], []]
    world.broker.away = True
    for _ in range(5):
        with pytest.raises(UnavailableError):
            world.round()
    world.broker.away = False
    assert [world.round() for _ in range(3)] == [[], [], [topic]]


def test_a_topic_of_another_id_is_somebody_elses(world: World) -> None:
    topic = world.lose("PriceInput")
    world.stores.topics.create({topic: world.stores.queues()[topic].spec})
    theirs = world.stores.topics.describe([topic])[topic]
    assert [world.round() for _ in range(3)] == [[], [], [topic]]
    assert world.told.names == [(topic, REPLACED)]
    (again,) = world.process.submit([submission([PRICE], strategy="s2", position=1)])
    assert topics_of(again) == [f"{topic}_v2"]
    assert world.stores.topics.describe([topic])[topic] == theirs  # and it is left alone


def test_what_counts_as_missing() -> None:
    asked = {"ours": "1", "gone": "2", "theirs": "3", "nameless": "", "nameless_gone": ""}
    assert missing_of(asked, {"ours": "1", "theirs": "9", "nameless": "9", "unasked": "9"}) == (
        Missing("gone", "2", ""),
        Missing("nameless_gone", "", ""),
        Missing("theirs", "3", "9"),
    )


def test_each_round_asks_for_a_page_and_all_pages_come_round() -> None:
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
    world.process.watch = None
    world.broker.asked.clear()
    world.lose("PriceInput")
    assert world.round() == []
    assert world.broker.asked == []


def test_more_than_a_transaction_takes_are_recorded_in_several() -> None:
    world = World()
    nodes = [node(f"n{number}", code=str(number)) for number in range(LOST_AT_ONCE + 5)]
    world.process.submit([submission(nodes)])
    world.stores.topics.delete(world.stores.topics.names())
    epoch = world.stores.graph.epoch()
    found = [len(world.round()) for _ in range(4)]
    assert found == [0, 0, LOST_AT_ONCE + 5, 0]
    assert world.stores.graph.epoch() == epoch + 2


# --- afterwards


def test_the_next_submission_gets_a_new_incarnation(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (answer,) = world.process.submit([submission([PRICE, MEAN], strategy="s2", position=1)])
    assert topics_of(answer)[0] == f"{topic}_v2"
    assert (told(answer).actions.create, told(answer).actions.reuse) == (1, 1)
    assert set(world.stores.topics.names()) == set(topics_of(answer))
    assert [world.round() for _ in range(4)] == [[]] * 4


def test_a_replay_is_expired_and_names_the_lost_queue(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([FIRST])
    assert (refused(again).code, refused(again).got) == (ErrorCode.EXPIRED, topic)


def test_an_identical_resend_of_what_is_in_force_makes_the_queue_again(world: World) -> None:
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([submission([PRICE, MEAN], position=1, at_ms=START_MS + 1)])
    assert topics_of(again)[0] == f"{topic}_v2"


def test_an_identical_resend_of_what_is_no_more_in_force_is_expired(world: World) -> None:
    """Its holder still says so, but another strategy id put another version in force."""
    topic = world.lose("PriceInput")
    other = submission([MEAN, PLAIN], strategy="s2", version="v2", position=1, at_ms=START_MS + 1)
    world.process.submit([other])
    for _ in range(3):
        world.round()
    (again,) = world.process.submit([submission([PRICE, MEAN], position=2, at_ms=START_MS + 2)])
    assert (refused(again).code, refused(again).got) == (ErrorCode.EXPIRED, topic)


def test_a_plan_made_before_the_loss_is_made_again(world: World) -> None:
    planned = [
        world.process.classify(each)
        for each in world.process.lookup([submission([PRICE], strategy="s2", position=1)])
    ]
    topic = world.lose("PriceInput")
    for _ in range(3):
        world.round()
    (answer,) = world.process.upsert(planned)
    assert topics_of(answer) == [f"{topic}_v2"]


def test_what_another_process_remembers_is_told_no_more(world: World) -> None:
    """The epoch ends its memory: at once where the loss was noticed, elsewhere with the next reading of the graph."""
    other = engine(world.stores, "other", topics=world.broker)
    other.pulses = Pulses(other.graph, lambda: world.now_s)
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


def test_the_sets_it_leaves_and_its_end_are_announced() -> None:
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


def test_of_a_node_without_tags_only_the_end_is_announced() -> None:
    world = World()
    world.process.submit([submission([PLAIN])])
    world.stores.events.published.clear()
    topic = world.lose("ProcessingNode")
    for _ in range(3):
        world.round()
    world.process.publish()
    assert [(each["type"], each["queue"]) for each in events(world.stores)] == [("QueueLifecycle", topic)]


def test_a_safe_mode_topic_is_made_again_and_never_announced() -> None:
    world = World()
    one = {"domain": "backtest"}
    (first,) = world.process.submit([submission([PRICE], **one)])
    (topic,) = topics_of(first)
    world.lose("_safe_")
    assert [world.round() for _ in range(3)] == [[], [], [topic]]
    assert world.stores.rows(OutboxRow) == []
    (again,) = world.process.submit([submission([PRICE], position=1, at_ms=START_MS + 1, **one)])
    assert topics_of(again) == [f"{topic}_v2"]


def test_the_admin_log_says_when_it_was_noticed(world: World) -> None:
    topic = world.lose("PriceInput")
    row = world.stores.queues()[topic]
    for _ in range(3):
        world.round()
    (entry,) = (each for each in world.stores.log.entries if each.action == "lost")
    assert (entry.topic, entry.topic_id, entry.spec) == (topic, row.topic_id, row.spec)
    assert (entry.node_id, entry.at_ms) == (row.binding.node_id, world.stores.clock.now_ms)


# --- rivals and crashes


def test_of_several_processes_one_records_and_tells(world: World) -> None:
    topic = world.lose("PriceInput")
    rivals = [world.watching(f"p{number}", **HASTY) for number in range(4)]
    with ThreadPoolExecutor(len(rivals)) as pool:
        found = list(pool.map(lambda rival: rival.find_lost(), rivals))
    assert sorted(len(each) for each in found) == [0, 0, 0, 1]
    assert world.told.names == [(topic, GONE)]
    world.process.publish()
    ends = [each["queue"] for each in events(world.stores) if each["type"] == "QueueLifecycle"]
    assert ends == [topic]


def test_what_a_rival_made_anew_meanwhile_is_not_declared_lost(world: World) -> None:
    """The evidence of a slow process is about an incarnation that is no more."""
    topic = world.lose("PriceInput")
    slow, fast = world.watching("slow", **HASTY), world.watching("fast", **HASTY)
    assert slow.watch is not None
    evidence = slow.watch.look(slow.graph, slow.topics)
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
    )
    process.watch = TopicWatch(lambda: 0.0, **HASTY)
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
