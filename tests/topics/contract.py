"""The contract of `Topics` and `TopicPruner`, with Kafka as the reference.

Runs unchanged on a real broker: names are prefixed, and what a broker does in the background is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateStatus, TopicConfig, TopicInfo, TopicPruner, Topics
from tests.waiting import until

Named = Callable[[str], str]
SPEC = TopicSpec(partitions=2, replication=1, retention_ms=86_400_000)


class Broker(Topics, TopicPruner, Protocol):
    """Both ports of one implementation."""


def status(broker: Topics, topic: str, spec: TopicSpec = SPEC) -> CreateStatus:
    return broker.create({topic: spec})[topic].status


def ready(broker: Topics, topic: str) -> TopicInfo:
    until(lambda: topic in (found := broker.describe([topic])) and found[topic].ready)
    return broker.describe([topic])[topic]


class TopicsContract:
    def test_a_created_topic_is_described_as_asked(self, broker: Broker, named: Named) -> None:
        assert status(broker, named("a")) is CreateStatus.CREATED
        found = ready(broker, named("a"))
        assert (found.topic, found.partitions, found.replication) == (named("a"), 2, 1)
        assert found.topic_id
        config = TopicConfig(retention_ms=86_400_000, cleanup_policy="delete")
        assert broker.configs([named("a")]) == {named("a"): config}

    def test_for_ever_is_minus_one(self, broker: Broker, named: Named) -> None:
        status(broker, named("a"), TopicSpec(1, 1, -1))
        ready(broker, named("a"))
        assert broker.configs([named("a")])[named("a")].retention_ms == -1

    def test_configs_of_just_these(self, broker: Broker, named: Named) -> None:
        status(broker, named("a"), TopicSpec(1, 1, 60_000, "compact"))
        ready(broker, named("a"))
        assert broker.configs([named("a"), named("b")]) == {named("a"): TopicConfig(60_000, "compact")}
        assert broker.configs([]) == {}

    def test_only_what_was_asked_for_and_absent_ones_left_out(self, broker: Broker, named: Named) -> None:
        broker.create({named("a"): SPEC, named("b"): SPEC})
        ready(broker, named("b"))
        assert set(broker.describe([named("b"), named("c")])) == {named("b")}
        assert broker.describe([]) == {}

    def test_bulk_creation_answers_each(self, broker: Broker, named: Named) -> None:
        assert broker.create({}) == {}
        status(broker, named("old"))
        ready(broker, named("old"))
        wanted = {named("new"): SPEC, named("old"): SPEC, named("b ad"): SPEC, named("more"): SPEC}
        answers = {topic: answer.status for topic, answer in broker.create(wanted).items()}
        assert answers == {
            named("new"): CreateStatus.CREATED,
            named("old"): CreateStatus.EXISTS,
            named("b ad"): CreateStatus.REFUSED,
            named("more"): CreateStatus.CREATED,
        }

    def test_creating_again_changes_nothing(self, broker: Broker, named: Named) -> None:
        status(broker, named("a"))
        before = ready(broker, named("a"))
        assert status(broker, named("a"), TopicSpec(5, 1, 1)) is CreateStatus.EXISTS
        assert broker.describe([named("a")])[named("a")] == before

    @pytest.mark.parametrize(("first", "second"), [("a.b", "a_b"), ("a_b.c", "a.b_c")])
    def test_names_that_metrics_would_confuse_collide(
        self, broker: Broker, named: Named, first: str, second: str
    ) -> None:
        status(broker, named(first))
        ready(broker, named(first))
        answer = broker.create({named(second): SPEC})[named(second)]
        assert answer.status is CreateStatus.COLLIDES
        assert named(first) in answer.reason
        assert broker.describe([named(second)]) == {}

    def test_case_makes_another_topic(self, broker: Broker, named: Named) -> None:
        for name in ("price", "Price"):
            assert status(broker, named(name)) is CreateStatus.CREATED
        assert ready(broker, named("price")).topic_id != ready(broker, named("Price")).topic_id

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "a b", "ä", "a/b", "a\n", "a:b", "x" * 250, "__consumer_offsets"]
    )
    def test_illegal_names_are_refused(self, broker: Broker, name: str) -> None:
        answer = broker.create({name: SPEC})[name]
        assert answer.status is CreateStatus.REFUSED
        assert answer.reason

    def test_the_longest_name(self, broker: Broker, named: Named) -> None:
        longest = named("").ljust(249, "x")
        assert status(broker, longest) is CreateStatus.CREATED
        assert ready(broker, longest).topic == longest

    def test_more_replicas_than_brokers_are_refused(self, broker: Broker, named: Named) -> None:
        enough = TopicSpec(1, broker.brokers(), -1)
        assert status(broker, named("a"), enough) is CreateStatus.CREATED
        answer = broker.create({named("b"): TopicSpec(1, broker.brokers() + 1, -1)})[named("b")]
        assert answer.status is CreateStatus.REFUSED
        assert answer.reason
        assert broker.describe([named("b")]) == {}

    @pytest.mark.parametrize("spec", [TopicSpec(0, 1, -1), TopicSpec(1, 0, -1), TopicSpec(1, 1, -1, "shred")])
    def test_impossible_specs_are_refused(self, broker: Broker, named: Named, spec: TopicSpec) -> None:
        assert status(broker, named("a"), spec) is CreateStatus.REFUSED
        assert broker.describe([named("a")]) == {}

    def test_a_deleted_topic_is_gone_and_comes_back_as_another(self, broker: Broker, named: Named) -> None:
        status(broker, named("a.b"))
        before = ready(broker, named("a.b"))
        broker.delete([named("a.b"), named("never-was")])
        until(lambda: not broker.describe([named("a.b")]))
        until(lambda: status(broker, named("a_b")) is CreateStatus.CREATED)
        broker.delete([named("a_b")])
        until(lambda: status(broker, named("a.b")) is CreateStatus.CREATED)
        assert ready(broker, named("a.b")).topic_id != before.topic_id

    def test_rivals_create_a_topic_once(self, broker: Broker, named: Named) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: status(broker, named("a")), range(6)))
        assert sorted(answers) == [CreateStatus.CREATED] + [CreateStatus.EXISTS] * 5
