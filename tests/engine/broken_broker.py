"""A broker that forgets topics, and the processes that watch it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dagmanager.engine.effects.lost_topics import LostTopicWatch
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.rows import QueueRow, QueueState, TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, LostReason, TopicConfig, TopicInfo
from dagmanager.errors import UnavailableError
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import (
    Stores,
    engine,
    node,
    submission,
    tag_query,
)

PRICE = node("price", tags=["BTC"], node_type="PriceInput", schema_hash="h1")


MEAN = node("mean", tags=["BTC", "mean"], inputs=[PRICE])


PLAIN = node("plain")


WATCH = tag_query("watch", ["BTC"])


FIRST = submission([PRICE, MEAN])


HASTY: Mapping[str, Any] = {"sightings": 1, "settled_s": 0.0}


@dataclass
class Forgetful:
    """A broker that hides topics, or is unreachable; `asked` are the names it was asked to describe."""

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
class Losses(Observer):
    found: list[tuple[str, str]] = field(default_factory=list)

    def lost(self, queue: QueueRow, why: LostReason) -> None:
        self.found.append((queue.topic, why))


@dataclass
class World:
    """Stores, a forgetful broker, and one process that watches it every 5 s."""

    stores: Stores = field(default_factory=Stores)
    losses: Losses = field(default_factory=Losses)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.broker = Forgetful(self.stores.topics)
        self.process = self.watching()

    def watching(self, owner: str = "one", **watch: Any) -> Engine:
        lost_topics = LostTopicWatch(lambda: self.now_s, **watch)
        return engine(self.stores, owner, topics=self.broker, lost_topics=lost_topics, observer=self.losses)

    def round(self) -> list[str]:
        """One poll; what it declared lost."""
        self.now_s += 5
        return [each.queue.topic for each in self.process.find_lost()]

    def states(self) -> dict[str, QueueState]:
        return {topic: row.state for topic, row in self.stores.queues().items()}

    def lose(self, name: str) -> str:
        """Another program deletes the topic of this node; its name."""
        (topic,) = (each for each in self.stores.topics.names() if name in each)
        self.stores.topics.delete([topic])
        return topic


def events(stores: Stores) -> list[dict[str, Any]]:
    return [orjson.loads(row.value)["data"] for row in stores.events.published]
