"""Claims of several processes are finished once: leases, take-overs, joined queues, refusals (docs/semantics.md 6)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from chaos.ports import WatchedGraph, WatchedTopics, watched
from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.effects.claim_completion import Completion, Unfinished
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.policy import INDICATOR, RAW
from dagmanager.engine.model.rows import QueueState, TopicSpec
from dagmanager.engine.model.topics_port import CreateResult
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.stages import Answer, InProgress
from dagmanager.engine.transactions.begin import begin
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import (
    POLICY,
    START_MS,
    Stores,
    engine,
    node,
    options,
)
from tests.engine.crash_scenarios import (
    FIRST,
    MEAN,
    PRICE,
    RISK,
    Scenario,
    World,
    answers,
    assert_settled,
    snapshot,
    strangers,
    sub,
)
from tests.engine.crashing import (
    CrashedError,
    Fuse,
    UnkindTopics,
)


def test_the_lease_is_renewed_during_work() -> None:
    """With a broker that takes 40 s, no other process may take the claim over."""
    stores = Stores(topics=MemoryTopics(ready_after=160))
    taken: list[int] = []

    def pause(seconds: float) -> None:
        stores.clock.sleep(seconds)
        taken.extend(1 for _ in stores.graph.overdue_claims(10))

    (answer,) = engine(stores, sleep=pause).submit([FIRST])
    assert isinstance(answer.result, Outcome)
    assert stores.clock.now_ms - START_MS > 30_000
    assert taken == []


def test_a_process_that_lost_its_claim_answers_with_the_new_owner_s_outcome() -> None:
    """The first process sleeps through its lease in the middle of its work; the poll of another acts."""
    stores = Stores()
    strangers(PRICE)(World(Scenario("", [])))
    wanted = Stores()
    (expected,) = engine(wanted).submit([FIRST])

    def oversleep(seconds: float) -> None:
        stores.clock.now_ms += 11_000
        Completion(
            stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep
        ).finish_overdue()

    silent = UnkindTopics(stores.topics, silences=1)
    (answer,) = engine(stores, "slow", topics=silent, sleep=oversleep).submit([FIRST])
    assert answers([answer]) == answers([expected])
    assert_settled(stores)


def test_a_claim_that_was_finished_by_another_process_is_not_touched() -> None:
    """Between claim and provision another process finished it: our late look must not rename it."""
    stores = Stores()
    claimed = claim_in(stores.graph, FIRST, options("slow"))
    assert isinstance(claimed, Claimed)
    stores.clock.now_ms += 11_000
    other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
    assert other.finish_overdue() == 1
    before = snapshot(stores)
    late = Completion(stores.graph, stores.topics, stores.log, options("slow"), stores.clock.sleep)
    (answer,) = late.advance([InProgress(FIRST, claimed)])
    assert isinstance(answer, Answer)
    assert answer.result == claimed.outcome
    assert snapshot(stores) == before


@pytest.mark.parametrize("point", range(1, 14))
def test_a_claim_of_another_owner_is_not_touched_at_any_stage(point: int) -> None:
    """Wherever the new owner stopped, the former owner neither renames, refuses nor creates anything."""
    stores = Stores()
    claimed = claim_in(stores.graph, FIRST, options("slow"))
    assert isinstance(claimed, Claimed)
    stores.clock.now_ms += 11_000
    fuse = Fuse(point + 3)  # after the take-over itself
    graph, broker = WatchedGraph(stores.graph, fuse), WatchedTopics(stores.topics, fuse)
    with pytest.raises(CrashedError):
        Completion(graph, broker, stores.log, options("other"), stores.clock.sleep).finish_overdue()
    before, topics = stores.all_rows(), stores.topics.names()
    unkind = UnkindTopics(stores.topics, refuses="_")
    late = Completion(stores.graph, unkind, stores.log, options("slow"), stores.clock.sleep)
    assert not late.bring_up({claim_id(FIRST): Unfinished(claimed.provision, claimed.locks)}).get(
        claim_id(FIRST)
    )
    assert (stores.all_rows(), stores.topics.names()) == (before, topics)


class Interrupted(UnkindTopics):
    """Each request for topics takes long enough that others look for overdue claims meanwhile."""

    def __init__(self, stores: Stores, seconds: float, refuses: str = "") -> None:
        super().__init__(stores.topics, refuses)
        self.stores = stores
        self.seconds = seconds
        self.taken_over: list[int] = []

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        self.stores.clock.sleep(self.seconds)
        stores = self.stores
        other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
        self.taken_over.append(other.finish_overdue())
        return super().create(specs)


def test_a_late_refusal_does_not_overwrite_the_answer_of_a_finished_claim() -> None:
    """It was held up before its request, which the broker then refuses."""
    stores = Stores()
    broker = Interrupted(stores, seconds=11, refuses="_")
    (answer,) = engine(stores, "slow", topics=broker).submit([FIRST])
    assert broker.taken_over == [1]
    assert isinstance(answer.result, Outcome)
    assert_settled(stores)
    (again,) = engine(stores, "third").submit([FIRST])
    assert again.result == answer.result


def test_the_lease_is_renewed_with_the_request_for_topics() -> None:
    stores = Stores()
    claimed = claim_in(stores.graph, FIRST, options("slow"))
    assert isinstance(claimed, Claimed)
    stores.clock.sleep(9)
    broker = Interrupted(stores, seconds=9)
    slow = Completion(stores.graph, broker, stores.log, options("slow"), stores.clock.sleep)
    done = slow.bring_up({claim_id(FIRST): Unfinished(claimed.provision, claimed.locks)})
    assert broker.taken_over == [0]
    assert done[claim_id(FIRST)] == {row.topic for row in claimed.provision}


def test_a_batch_that_takes_long_to_claim_keeps_its_leases() -> None:
    stores = Stores()
    other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
    taken_over: list[int] = []
    passed: list[str] = []

    def passing(point: str) -> None:
        passed.append(point)
        if point == "claim after":
            stores.clock.sleep(2.5)
            taken_over.append(other.finish_overdue())

    batch = [sub([node(str(at))], at, strategy=f"s{at}", lineage=f"l{at}") for at in range(7)]
    answers_found = watched(engine(stores), passing).submit(batch)
    assert [point for point in passed if point in {"claim", "create"}] == [*["claim"] * 7, "create"]
    assert taken_over == [0] * 7
    assert [each.submission for each in answers_found] == batch
    assert_settled(stores)


def test_leases_of_queued_claims_are_renewed_while_others_are_provisioned() -> None:
    stores = Stores()
    process = engine(stores, "slow", topics=UnkindTopics(stores.topics, silences=4))
    batch = [sub([node(str(at))], at, strategy=f"s{at}", lineage=f"l{at}") for at in range(2)]
    queued, first = (each for each in process.claim(process.plan(batch)) if isinstance(each, InProgress))
    assert isinstance(process.advance([first])[0], Answer)
    stores.clock.sleep(6)
    assert stores.clock.now_ms - START_MS > 10_000, "longer than the lease that the claim began with"
    other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
    assert other.finish_overdue() == 0
    assert isinstance(process.advance([queued])[0], Answer)
    process.publish()
    assert_settled(stores)


def test_own_claims_left_by_a_failure_are_finished_at_once() -> None:
    """A batch that the broker's silence ended left claims of ours: the next one finishes them at once."""
    stores = Stores()
    assert isinstance(claim_in(stores.graph, FIRST, options("one")), Claimed)
    (answer,) = engine(stores, "one").submit([sub([PRICE, MEAN], 1, strategy="s2")])
    assert isinstance(answer.result, Outcome)
    assert stores.clock.now_ms == START_MS
    assert_settled(stores)


def test_a_version_superseded_while_a_joined_queue_failed_is_refused_for_good() -> None:
    """The queue that it had joined is refused, and created later for another submission."""
    stores = Stores()
    engine(stores).submit([sub([PRICE], 0, lineage="pre", strategy="s0")])
    broker = UnkindTopics(stores.topics, refuses="Risky")
    joiner = sub([PRICE, RISK], 2, strategy="s2", version="v1")
    batch = [sub([RISK], 1, lineage="other"), joiner, sub([PRICE], 3, strategy="s3", version="v2")]
    _, first, _ = engine(stores, topics=broker).submit(batch)
    assert isinstance(first.result, Rejection)
    assert first.result.code is ErrorCode.TOPIC_REFUSED
    (again,) = engine(stores, "two", topics=broker).submit([joiner])
    engine(stores, "three").submit([sub([RISK], 4, lineage="z", strategy="s9")])
    (later,) = engine(stores, "four").submit([joiner])
    assert first.result == again.result == later.result


def test_no_version_is_active_before_the_queues_that_it_joined() -> None:
    """The rival's queue is refused in the end: the lineage that joined it must keep its own version."""
    stores = Stores()
    engine(stores).submit([sub([MEAN], 0, lineage="beta", strategy="s2")])
    broker = UnkindTopics(stores.topics, refuses="PriceInput_")
    joiner = sub([PRICE, MEAN], 2, lineage="beta", strategy="s2")
    found = engine(stores, topics=broker).submit([sub([PRICE, RISK], 1), joiner])
    assert all(isinstance(each.result, Rejection) for each in found)
    active = [row.key for row in stores.rows(SentinelRow) if row.state is SentinelState.ACTIVE]
    assert [(key.lineage, key.revision) for key in active] == [("beta", 1)]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("spec", [TopicSpec(100_001, 3, 1), TopicSpec(3, 3, 2**62)])
def test_a_claim_whose_topics_no_broker_could_create_is_decided_again_under_the_settings_of_today(
    spec: TopicSpec, begun: bool
) -> None:
    """Such settings were accepted once; every process that touched the claim failed, after the setting was corrected, too."""
    stores = Stores()
    mistaken = msgspec.structs.replace(POLICY, topics=((RAW, spec), (INDICATOR, spec)))
    claimed = claim_in(stores.graph, FIRST, options("dead", mistaken))
    assert isinstance(claimed, Claimed)
    if begun:
        topics = frozenset(row.topic for row in claimed.provision)
        claims = {claim_id(FIRST): claimed.provision}
        stores.graph.transact(lambda tx: begin(tx, claims, topics, "dead", POLICY.lease_ms))
    stores.clock.now_ms += 11_000
    other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
    assert other.finish_overdue() == 1
    assert {row.state for row in stores.queues().values()} == {QueueState.ACTIVE}
    today = {POLICY.topic_spec(kind, options().brokers) for kind in (RAW, INDICATOR)}
    assert {row.spec for row in stores.queues().values()} <= today
    (answer,) = engine(stores, "third").submit([FIRST])
    assert answer.result == claimed.outcome
