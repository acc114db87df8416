"""claim → provision → log → activate → emit, with a crash before and after every call of every port.

Afterwards the replay, another submitter or the poll finishes the work: the answers are the same bytes, the stores as
without the crash, every event is published, and every topic is known to the graph.
"""

from __future__ import annotations

import msgspec
import pytest

from chaos.ports import watched
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.rows import QueueState
from dagmanager.errors import ErrorCode, Rejection
from tests.engine.builders import (
    Stores,
    engine,
)
from tests.engine.crash_scenarios import (
    FIRST,
    ONE_BY_ONE,
    SCENARIOS,
    Scenario,
    World,
    answers,
    assert_as_if_whole,
    assert_settled,
    events,
    points_of,
    snapshot,
)

by_name = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)


@by_name
def test_every_scenario_ends_settled(scenario: Scenario) -> None:
    world = World(scenario)
    world.run("one")
    if world.scenario.name == "joined_queue":
        world.poll()
    assert_settled(world.stores, world.foreign)


@by_name
def test_the_replay_after_a_crash_anywhere_ends_as_if_there_had_been_none(scenario: Scenario) -> None:
    whole = World(scenario)
    expected = answers(whole.run("one"))
    for point in points_of(scenario):
        world = World(scenario)
        assert world.crash_at(point)
        assert answers(world.run("two")) == expected, point
        assert_as_if_whole(world, whole, point)


@by_name
def test_a_second_crash_in_the_replay_changes_nothing(scenario: Scenario) -> None:
    whole = World(scenario)
    expected = answers(whole.run("one"))
    for point in points_of(scenario)[::9]:
        for second in range(1, 40, 8):
            world = World(scenario)
            world.crash_at(point)
            world.crash_at(second)
            assert answers(world.run("two")) == expected, (point, second)
            assert_as_if_whole(world, whole, (point, second))


@by_name
def test_without_a_replay_the_poll_finishes_what_was_claimed(scenario: Scenario) -> None:
    reached = [snapshot(World(scenario).stores)]
    whole = World(scenario)
    for batch in scenario.batches:
        for each in batch:
            whole.engine("one").submit([each])
            reached.append(snapshot(whole.stores))
    for point in points_of(scenario):
        world = World(scenario)
        world.crash_at(point)
        world.poll()
        assert_settled(world.stores, world.foreign)
        if scenario in ONE_BY_ONE and scenario.name != "joined_queue":
            assert snapshot(world.stores) in reached, point
        if scenario in ONE_BY_ONE:
            assert set(events(world.stores)) <= set(events(whole.stores)), point
        else:
            # Claims of a batch are finished in another order after a crash, so revisions and lists differ.
            assert announced(world.stores) <= active_topics(whole.stores), point


@by_name
def test_without_a_replay_another_submitter_takes_over_and_finishes(scenario: Scenario) -> None:
    whole = World(scenario)
    whole.run("one")
    last = scenario.batches[-1][-1]
    nodes = last.dag.nodes
    stranger = msgspec.structs.replace(last, strategy_id="stranger", submission_digest="d", submission_id="i")
    (expected,) = whole.engine("two").submit([stranger])
    for point in points_of(scenario):
        world = World(scenario)
        world.crash_at(point)
        (answer,) = world.engine("two").submit([stranger])
        if isinstance(answer.result, Rejection):
            assert answer.result.code is ErrorCode.TOPIC_REFUSED, point
            assert scenario.refuses, point
            refused = {each["topic"] for each in answer.result.details}
            queues = world.stores.queues()
            assert {queues[topic].state for topic in refused} == {QueueState.FAILED}, point
        else:
            assert len(answer.result.items) == len(nodes)
            queues = world.stores.queues()
            assert {queues[topic].state for topic in answer.result.topics} == {QueueState.ACTIVE}, point
            if not scenario.refuses:
                assert isinstance(expected.result, Outcome)
                assert answer.result.items == expected.result.items, point
        world.poll()
        assert_settled(world.stores, world.foreign)


def announced(stores: Stores) -> set[str]:
    """Every topic that any list of an event has."""
    data = (event["data"] for event in events(stores).values())
    return {each["queue"] for one in data if "queues" in one for each in one["queues"]}


def active_topics(stores: Stores) -> set[str]:
    return {topic for topic, row in stores.queues().items() if row.state is QueueState.ACTIVE}


def test_events_are_published_even_if_the_poll_emptied_the_outbox_between_claim_and_activation() -> None:
    stores = Stores()
    one = engine(stores)

    def passing(point: str) -> None:
        if point == "create":
            assert live.publish() == 0

    live = watched(one, passing)
    live.submit([FIRST])
    assert_settled(stores)
    assert events(stores)
