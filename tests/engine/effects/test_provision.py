"""How long provisioning keeps trying, how often it asks the broker, and for what (docs/requirements.md T7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from dagmanager.engine.effects.provision import Provisioned, foreign_before, provision
from dagmanager.engine.model.rows import QueueRow, TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, TopicInfo
from dagmanager.errors import ClaimLostError, UnavailableError
from dagmanager.topics.memory import MemoryTopics
from tests.engine.crashing import UnkindTopics
from tests.graph.builders import queue

ROWS = [queue(topic, f"n{topic}") for topic in ("a", "b", "c")]
# Full pauses between the tries; at least half of each is kept, the rest is jitter.
PAUSES_S = (0.5, 1.0, 2.0, 4.0)
NEVER = 1_000_000


@dataclass
class Calls(UnkindTopics):
    """What was asked of the broker, and how long was paused, in order."""

    created: list[list[str]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    renewed: int = 0

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        self.created.append(sorted(specs))
        return super().create(specs)

    def renew_leases(self) -> None:
        self.renewed += 1

    def provision(self, rows: Sequence[QueueRow] = ROWS) -> Provisioned:
        return provision(self, rows, self.pauses.append, self.renew_leases)


def assert_backed_off(pauses: Sequence[float]) -> None:
    assert len(pauses) == len(PAUSES_S)
    for pause_s, full_s in zip(pauses, PAUSES_S, strict=True):
        assert full_s / 2 <= pause_s <= full_s


def test_a_broker_that_never_answers_is_asked_five_times_with_growing_pauses() -> None:
    broker = Calls(MemoryTopics(), silences=NEVER)
    with pytest.raises(UnavailableError, match="no answer in time"):
        broker.provision()
    assert broker.created == [["a", "b", "c"]] * 5
    assert_backed_off(broker.pauses)


def test_an_answer_to_the_fifth_try_is_enough() -> None:
    broker = Calls(MemoryTopics(), silences=4)
    assert sorted(broker.provision().ready) == ["a", "b", "c"]
    assert len(broker.created) == 5


def test_topics_that_get_no_leaders_are_waited_for_a_minute_five_times() -> None:
    broker = Calls(MemoryTopics(ready_after=NEVER))
    with pytest.raises(
        UnavailableError,
        match=r"3 topics did not come up, the first is a: a partition has no leader, 1 replicas asked for, 1 brokers up$",
    ):
        broker.provision()
    assert broker.created == [["a", "b", "c"]] * 5
    polls = [pause_s for pause_s in broker.pauses if pause_s <= 0.25]
    assert 5 * 60 <= sum(polls) <= 5 * 60.25
    assert min(polls) == 0.01
    assert_backed_off([pause_s for pause_s in broker.pauses if pause_s > 0.25])
    assert broker.renewed == 5 + len(polls), "leases are renewed before each request and after each poll"


def test_after_an_ambiguous_answer_only_missing_topics_are_requested_again_after_a_second() -> None:
    broker = Calls(MemoryTopics(), vague=1)
    assert sorted(broker.provision().ready) == ["a", "b", "c"]
    assert broker.created == [["a", "b", "c"], ["b"]]
    *polls, pause_s = broker.pauses
    assert 1.0 <= sum(polls) <= 1.25
    assert 0.25 <= pause_s <= 0.5


def test_refused_topics_are_not_asked_for_again_and_hold_up_no_others() -> None:
    broker = Calls(MemoryTopics(), refuses="b")
    report = broker.provision()
    assert report.refused == {"b": "policy violation"}
    assert sorted(report.ready) == ["a", "c"]
    assert len(broker.created) == 1


@pytest.mark.parametrize(
    "other", [TopicSpec(7, 1, 1), msgspec.structs.replace(ROWS[0].spec, retention_ms=12_345)]
)
def test_an_existing_topic_of_another_shape_or_retention_is_foreign(other: TopicSpec) -> None:
    memory = MemoryTopics(brokers=3)
    memory.create({"a": other})
    report = Calls(memory).provision()
    assert report.foreign == ("a",)
    assert sorted(report.ready) == ["b", "c"]


def test_nothing_to_provision_asks_the_broker_for_nothing() -> None:
    broker = Calls(MemoryTopics(), silences=NEVER)
    assert broker.provision([]) == Provisioned({})
    assert (broker.created, broker.pauses, broker.renewed) == ([], [], 0)


def test_a_lost_claim_ends_the_wait_for_leaders_at_once() -> None:
    broker = Calls(MemoryTopics(ready_after=NEVER))

    def lost() -> None:
        if broker.pauses:
            raise ClaimLostError("another process owns it")

    with pytest.raises(ClaimLostError):
        provision(broker, ROWS, broker.pauses.append, lost)
    assert broker.pauses == [0.01]


def test_only_names_that_we_never_asked_for_can_be_foreign_before_the_request() -> None:
    memory = MemoryTopics(brokers=3)
    memory.create({row.topic: row.spec for row in ROWS})
    begun = msgspec.structs.replace(ROWS[1], begun=True)
    assert foreign_before(memory, [ROWS[2], begun, ROWS[0]]) == ("a", "c")

    class Unasked(MemoryTopics):
        def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
            raise AssertionError(topics)

    assert foreign_before(Unasked(), [begun]) == ()
