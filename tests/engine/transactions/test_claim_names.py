"""What a claimed topic is called (docs/semantics.md 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dagmanager.engine.model.rows import Binding, NodeRow, QueueRow, QueueState, TopicSpec
from dagmanager.engine.model.topics_port import TopicInfo
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import (
    POLICY,
    START_MS,
    Stores,
    accepted,
    engine,
    node,
    submission,
    topics_of,
)
from tests.engine.market import (
    PRICE,
)


def test_names_that_are_equal_when_folded_get_different_topics() -> None:
    stores = Stores()
    low, high = (
        node("a", code="1", tags=["x"], node_type="Mean.A"),
        node("b", code="2", tags=["x"], node_type="mean_a"),
    )
    answers = engine(stores).submit([submission([low, high])])
    folded = {topic.lower().replace(".", "_") for topic in topics_of(answers[0])}
    assert len(folded) == 2


def test_a_name_is_made_longer_when_its_short_hash_is_taken() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (taken,) = stores.rows(NodeRow)
    stores = Stores()
    twin = msgspec.structs.replace(taken, node_id="blake3:" + "0" * 64, base_name=taken.base_name.upper())
    stores.put(twin)
    (second,) = engine(stores).submit([submission([PRICE])])
    short, longer = topics_of(first)[0].split("_")[2], topics_of(second)[0].split("_")[2]
    assert longer.startswith(short)
    assert len(longer) == len(short) + 2


def test_a_name_that_was_ever_used_is_never_used_again() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    for number, state in enumerate([QueueState.DROPPED, QueueState.FAILED, QueueState.LOST], start=2):
        current = max(stores.rows(QueueRow), key=lambda row: row.incarnation)
        stores.put(msgspec.structs.replace(current, state=state))
        (again,) = engine(stores).submit(
            [submission([PRICE], strategy=f"s{number}", position=number, at_ms=START_MS + number)]
        )
        assert topics_of(again) == [f"{topics_of(first)[0]}_v{number}"]
        assert accepted(again).actions.create == 1
    assert {row.topic for row in stores.rows(QueueRow)} == {
        queue.topic,
        *(f"{queue.topic}_v{n}" for n in (2, 3, 4)),
    }


def test_the_name_of_another_node_s_tombstone_is_skipped() -> None:
    stores = Stores()
    (first,) = engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    stores.put(
        msgspec.structs.replace(queue, state=QueueState.DROPPED),
        msgspec.structs.replace(
            queue,
            topic=f"{queue.topic}_V2",
            binding=Binding("blake3:" + "1" * 64, ""),
            state=QueueState.DROPPED,
        ),
    )
    (again,) = engine(stores).submit([submission([PRICE], strategy="s2", position=1)])
    assert topics_of(again) == [f"{topics_of(first)[0]}_v3"]


def test_a_resurrected_queue_inherits_its_ttl() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    assert queue.ttl_ms == POLICY.ttl_ms("raw")
    stores.put(msgspec.structs.replace(queue, state=QueueState.DROPPED, ttl_ms=1234))
    engine(stores).submit([submission([PRICE], strategy="s2", position=1)])
    assert {row.incarnation: row.ttl_ms for row in stores.rows(QueueRow)} == {1: 1234, 2: 1234}


def test_a_foreign_topic_under_the_wanted_name_is_not_touched() -> None:
    stores = Stores()
    (wanted,) = topics_of(engine(Stores()).submit([submission([PRICE])])[0])
    stores.topics.create({wanted: TopicSpec(1, 1, 5)})
    (answer,) = engine(stores).submit([submission([PRICE])])
    assert topics_of(answer) == [f"{wanted}_v2"]
    assert stores.topics.configs([wanted])[wanted].retention_ms == 5
    assert stores.queues()[wanted].state is QueueState.FAILED


def test_a_foreign_topic_created_after_the_check_is_not_touched() -> None:
    class Contested(MemoryTopics):
        """Another program creates every topic that is looked up and absent, in another shape."""

        def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
            found = super().describe(topics)
            if not self.names():
                self.create({name: TopicSpec(7, 1, 5) for name in topics})
            return found

    stores = Stores(topics=Contested())
    (answer,) = engine(stores).submit([submission([PRICE])])
    (made, ours) = sorted(stores.topics.names())
    assert topics_of(answer) == [ours]
    assert ours == f"{made}_v2"
    assert stores.topics.describe([made])[made].partitions == 7
    assert stores.queues()[made].state is QueueState.FAILED
