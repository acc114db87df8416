"""A topic that was changed at the broker is named in answers, until it is as before (docs/semantics.md 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from dagmanager.engine.effects.changed_topics import ChangedTopicWatch, drift
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import TopicConfig, TopicInfo
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import START_MS, Stores, accepted, engine, submission, topics_of
from tests.engine.market import MEAN, PRICE


@dataclass
class ChangedTopics(MemoryTopics):
    """A broker at which another program changes topics."""

    partitions: dict[str, int] = field(default_factory=dict)
    retention_ms: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        MemoryTopics.__init__(self)

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        found = super().describe(topics)
        return {
            name: msgspec.structs.replace(info, partitions=self.partitions.get(name, info.partitions))
            for name, info in found.items()
        }

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        found = super().configs(topics)
        return {
            name: msgspec.structs.replace(
                config, retention_ms=self.retention_ms.get(name, config.retention_ms)
            )
            for name, config in found.items()
        }


def warned(answer: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.code.value, each.details) for each in accepted(answer).warnings]  # type: ignore[arg-type]  # an Answer


def test_a_changed_topic_is_reused_with_a_warning_until_it_is_as_before() -> None:
    topics = ChangedTopics()
    stores = Stores(topics=topics)
    works = engine(stores, changed_topics=ChangedTopicWatch())
    (first,) = works.submit([submission([PRICE, MEAN])])
    resend = submission([PRICE, MEAN], position=1)
    works.submit([resend])  # its answer is cached now
    assert works.find_changed() == ()
    topic = topics_of(first)[0]
    epoch = stores.graph.epoch()
    topics.partitions[topic], topics.retention_ms[topic] = 4, 1_000
    (row,) = works.find_changed()
    assert row.topic == topic
    assert stores.graph.epoch() == epoch + 1
    asked = row.spec
    expected = f"{topic}: partitions 4 instead of {asked.partitions}, retention_ms 1000 instead of {asked.retention_ms}"
    for number, each in enumerate((resend, submission([PRICE], strategy="s2", lineage="b", position=2))):
        (answer,) = works.submit([each])
        assert warned(answer) == [("topic_settings_differ", (expected,))], number
        assert topics_of(answer)[0] == topic
        assert accepted(answer).actions.create == 0
    assert works.find_changed() == ()
    topics.partitions.clear()
    topics.retention_ms.clear()
    (cleared,) = works.find_changed()
    assert cleared.drift == ""
    (after,) = works.submit([submission([PRICE], strategy="s3", lineage="c", position=3, at_ms=START_MS + 3)])
    assert warned(after) == []


def test_every_topic_is_asked_for_in_turn() -> None:
    topics = ChangedTopics()
    stores = Stores(topics=topics)
    works = engine(stores, changed_topics=ChangedTopicWatch(page=1))
    (answer,) = works.submit([submission([PRICE, MEAN])])
    topics.partitions = dict.fromkeys(topics_of(answer), 9)
    found = [row.topic for _ in range(4) for row in works.find_changed()]
    assert sorted(found) == sorted(topics_of(answer))


@pytest.mark.parametrize(
    ("info", "config", "words"),
    [
        ((1, 1), (-1, "delete"), ""),
        ((2, 3), (-1, "delete"), "partitions 2 instead of 1"),
        ((1, 1), (5, "compact"), "retention_ms 5 instead of -1, cleanup_policy compact instead of delete"),
    ],
)
def test_what_differs(info: tuple[int, int], config: tuple[int, str], words: str) -> None:
    found = TopicInfo("t", "id", *info, ready=True)
    assert drift(TopicSpec(1, 1, -7), found, TopicConfig(*config)) == words
