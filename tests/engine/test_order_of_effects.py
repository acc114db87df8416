"""claim → provision → log → activate → emit, with a crash before and after every touch of every port.

Whoever comes next (the replay, another submitter, the poll) finds everything recorded: the answers
are the same bytes, the stores as if nothing had happened, every event is out, no topic is unknown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import pytest

from dagmanager.dag.model import Submission
from dagmanager.engine.claim import Claimed, claim_id, claim_in
from dagmanager.engine.complete import Completion
from dagmanager.engine.engine import Engine
from dagmanager.engine.journey import Answer
from dagmanager.engine.outcome import Outcome, encode
from dagmanager.engine.ports import Topics
from dagmanager.engine.publish import publish_waiting
from dagmanager.engine.rows import (
    GONE,
    CounterRow,
    HolderRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    SentinelRow,
    SentinelState,
    TagSetRow,
    TopicSpec,
)
from dagmanager.errors import Rejection
from dagmanager.topics.memory import MemoryTopics
from tests.engine.builders import (
    POLICY,
    START_MS,
    Json,
    Stores,
    engine,
    node,
    options,
    submission,
    submissions,
    tag_query,
)
from tests.engine.crashing import (
    CrashedError,
    CrashingEvents,
    CrashingGraph,
    CrashingLog,
    CrashingTopics,
    Fuse,
    UnkindTopics,
)

PRICE = node("price", tags=["BTC"], node_type="PriceInput", schema_hash="h1")
MEAN = node("mean", tags=["BTC", "mean"], inputs=[PRICE])
RISK = node("risk", tags=["ETH"], inputs=[PRICE], node_type="Risky")
WATCH = tag_query("watch", ["BTC"])
NEW_PRICE = PRICE | {"schema_hash": "h2"}

# A short lease, so that waiting for one is a few looks and not hundreds.
HASTY = msgspec.structs.replace(POLICY, lease_ms=50)

Batch = tuple[Submission, ...]


def nothing(world: World) -> None:
    """No history."""


@dataclass
class Scenario:
    """`before` is history that nobody crashes in; `batches` are what the crashing process does.

    `contested`: two claims share a queue that fails, and the crash decides who repairs it. How often
    the sets of queues were announced on the way depends on that; what they are in the end does not.
    """

    name: str
    batches: Sequence[Batch]
    before: Callable[[World], None] = nothing
    refuses: str = ""
    silences: int = 0
    vague: int = 0
    contested: bool = False


@dataclass
class World:
    """Stores and a broker that outlive processes; topic ids count creations."""

    scenario: Scenario
    stores: Stores = field(init=False)
    broker: Topics = field(init=False)
    foreign: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        numbers = itertools.count(1)
        self.stores = Stores(topics=MemoryTopics(new_id=lambda: f"id{next(numbers)}"))
        one = self.scenario
        self.broker = self.stores.topics
        one.before(self)
        self.foreign = frozenset(self.stores.topics.names()) - set(self.stores.queues())
        self.broker = UnkindTopics(self.stores.topics, one.refuses, one.silences, one.vague)

    def engine(self, owner: str, fuse: Fuse | None = None) -> Engine:
        if fuse is None:
            return engine(self.stores, owner, HASTY, topics=self.broker)
        return engine(
            self.stores,
            owner,
            HASTY,
            graph=CrashingGraph(self.stores.graph, fuse),
            topics=CrashingTopics(self.broker, fuse),
            log=CrashingLog(self.stores.log, fuse),
            events=CrashingEvents(self.stores.events, fuse),
        )

    def run(self, owner: str, fuse: Fuse | None = None) -> list[Answer]:
        process = self.engine(owner, fuse)
        return [answer for batch in self.scenario.batches for answer in process.submit(batch)]

    def crash_at(self, point: int) -> bool:
        """Whether the process got that far at all."""
        try:
            self.run("dies", Fuse(point))
        except CrashedError:
            return True
        return False

    def poll(self) -> None:
        """What every process does every 5 s, once the lease of whoever died is over."""
        self.stores.clock.now_ms += HASTY.lease_ms + 1
        graph, log = self.stores.graph, self.stores.log
        Completion(graph, self.broker, log, options("poll"), self.stores.clock.sleep).finish_overdue()
        publish_waiting(graph, self.stores.events)


def history(*batches: Batch) -> Callable[[World], None]:
    def play(world: World) -> None:
        for batch in batches:
            engine(world.stores, "past").submit(batch)

    return play


def died_after_claiming(one: Submission) -> Callable[[World], None]:
    """A rival that claimed and was never seen again."""

    def play(world: World) -> None:
        claimed = claim_in(world.stores.graph, one, options("rival", HASTY))
        assert isinstance(claimed, Claimed)
        assert claimed.provision

    return play


def strangers(*nodes: Json) -> Callable[[World], None]:
    """Somebody else's topics under the names that these nodes would get."""

    def play(world: World) -> None:
        elsewhere = Stores()
        engine(elsewhere).submit([submission(nodes)])
        world.stores.topics.create({name: TopicSpec(7, 1, 1) for name in elsewhere.topics.names()})

    return play


def sub(nodes: Sequence[Json], position: int, **fields: Any) -> Submission:
    return submission(nodes, position=position, at_ms=START_MS + position, **fields)


FIRST = sub([PRICE, MEAN], 0)
TWO_LINEAGES = (sub([PRICE, RISK], 1), sub([PRICE, MEAN], 2, lineage="beta", strategy="s2"))

SCENARIOS = [
    Scenario("new_dag", [(FIRST,)]),
    Scenario("new_dag_then_same_from_another", [(FIRST,), (sub([PRICE, MEAN], 1, strategy="s2"),)]),
    Scenario("overlap", [(sub([PRICE, RISK], 1, lineage="beta", strategy="s2"),)], history((FIRST,))),
    Scenario("overlap_in_one_batch", [TWO_LINEAGES]),
    Scenario("tag_query", [(FIRST,)], history((sub([WATCH], 0, lineage="w", strategy="w"),))),
    Scenario("schema_change", [(sub([NEW_PRICE, MEAN], 1, lineage="b", strategy="s2"),)], history((FIRST,))),
    Scenario("second_version", [(sub([PRICE, RISK], 1),), (sub([RISK], 2),)], history((FIRST,))),
    Scenario("back_to_the_first", [(sub([RISK], 1),), (sub([PRICE, MEAN], 2),)], history((FIRST,))),
    Scenario(
        "canary",
        [
            (sub([PRICE, RISK], 1, version="v2", weight=0.2),),
            (sub([PRICE, RISK], 2, version="v2", weight=0.6),),
            (sub([PRICE, RISK], 3, version="v2", weight=1.0),),
        ],
        history((FIRST,)),
    ),
    Scenario("safe_mode", [(sub([PRICE, MEAN], 0, domain="backtest"),)]),
    Scenario("several_worlds", [submissions([PRICE, MEAN], worlds=["w1", "w2"])]),
    Scenario(
        "joined_queue",
        [(sub([PRICE, RISK], 1, lineage="b", strategy="s2"),)],
        died_after_claiming(FIRST),
    ),
    Scenario("foreign_topic", [(FIRST,)], strangers(PRICE)),
    Scenario("foreign_topic_that_another_joined", [TWO_LINEAGES], strangers(PRICE), contested=True),
    Scenario("refused_topic", [(sub([PRICE, RISK], 1),)], history((FIRST,)), refuses="Risky"),
    Scenario(
        "refused_topic_that_another_joined",
        [(*TWO_LINEAGES, sub([RISK], 3, lineage="c", strategy="s3"))],
        refuses="PriceInput_",
        contested=True,
    ),
    Scenario("refused_beside_others", [TWO_LINEAGES], refuses="Risky", contested=True),
    Scenario("no_answer_at_first", [(FIRST,)], silences=2),
    Scenario("ambiguous_answer", [(FIRST,)], vague=2),
]
# The snapshot of a crash that the poll mends is one of the uncrashed run only if claims come one by one.
ONE_BY_ONE = [each for each in SCENARIOS if all(len(batch) == 1 for batch in each.batches)]

by_name = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)


def timeless(row: Row) -> Row:
    """A row without what may differ between two runs: moments and leases."""
    match row:
        case QueueRow():
            free = row.unreferenced_ms if row.unreferenced_ms is None else 0
            expires = row.expires_ms if row.expires_ms is None else 0
            return msgspec.structs.replace(
                row,
                created_ms=0,
                lease_until_ms=0,
                unreferenced_ms=free,
                expires_ms=expires,
                begun=False,
                topic_id="",
            )
        case SentinelRow():
            return msgspec.structs.replace(row, created_ms=0, last_seen_ms=0, lease_until_ms=0)
        case HolderRow():
            return msgspec.structs.replace(row, last_seen_ms=0)
        case OutcomeRow() | NodeRow():
            return msgspec.structs.replace(row, created_ms=0)
        case _:
            return row


def snapshot(stores: Stores) -> list[Row]:
    return [timeless(row) for row in stores.all_rows() if not isinstance(row, OutboxRow)]


def without_counts(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not isinstance(row, CounterRow | TagSetRow)]


def assert_as_if_whole(world: World, whole: World, where: object) -> None:
    """The stores as if nobody had crashed, and every event out."""
    if world.scenario.refuses:
        world.poll()  # what else a refused claim had created is nobody's answer: the poll brings it up
    assert_settled(world.stores, world.foreign)
    if world.scenario.name == "refused_topic_that_another_joined":
        return  # see `test_no_version_is_in_force_before_the_queues_that_it_joined`
    if world.scenario.contested:
        assert without_counts(snapshot(world.stores)) == without_counts(snapshot(whole.stores)), where
        assert last_weights(world.stores) == last_weights(whole.stores), where
    else:
        assert snapshot(world.stores) == snapshot(whole.stores), where
        assert events(world.stores) == events(whole.stores), where


def last_weights(stores: Stores) -> dict[str, float]:
    """What was last said about each version that clients know."""
    data = [orjson.loads(row.value)["data"] for row in stores.events.published]
    weights = [each for each in data if "weight" in each]
    return {f"{each['sentinel_id']} {each['sentinel_version']}": each["weight"] for each in weights}


def answers(found: Sequence[Answer]) -> list[bytes]:
    return [encode(each.result) for each in found]


def events(stores: Stores) -> dict[str, Any]:
    """What was published, by idempotency key; each key always with the same bytes."""
    published: dict[str, bytes] = {}
    for row in stores.events.published:
        assert published.setdefault(row.event_id, row.value) == row.value
    return {key: timeless_event(value) for key, value in published.items()}


def timeless_event(value: bytes) -> Any:
    event = orjson.loads(value)
    del event["time"], event["data"]["ts"]
    return event


def assert_settled(stores: Stores, foreign: frozenset[str] = frozenset()) -> None:
    """Nothing is half done and nothing is unknown."""
    queues = stores.queues()
    assert [row.topic for row in queues.values() if row.state is QueueState.PROVISIONING] == []
    assert [row.key for row in stores.rows(SentinelRow) if row.state is SentinelState.PENDING] == []
    assert stores.rows(OutboxRow) == []
    assert set(stores.topics.names()) - foreign <= set(queues)
    living = {row.topic for row in queues.values() if row.state not in GONE}
    assert living <= set(stores.topics.names())
    assert living <= {entry.topic for entry in stores.log.entries}
    for row in queues.values():
        if row.state is QueueState.ACTIVE:
            assert row.topic_id == stores.topics.describe([row.topic])[row.topic].topic_id


def points_of(scenario: Scenario) -> range:
    fuse = Fuse()
    World(scenario).run("counts", fuse)
    return range(1, fuse.points + 1)


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
        assert set(events(world.stores)) <= set(events(whole.stores)) or scenario not in ONE_BY_ONE, point


@by_name
def test_without_a_replay_another_submitter_takes_over_and_finishes(scenario: Scenario) -> None:
    whole = World(scenario)
    whole.run("one")
    last = scenario.batches[-1][-1]
    nodes = last.hashed.dag.nodes
    stranger = msgspec.structs.replace(last, strategy_id="stranger", submission_digest="d", submission_id="i")
    (expected,) = whole.engine("two").submit([stranger])
    for point in points_of(scenario):
        world = World(scenario)
        world.crash_at(point)
        (answer,) = world.engine("two").submit([stranger])
        if scenario.refuses and point:
            # A claim that the crash left behind is refused to the one who joined it, and tried anew.
            assert isinstance(answer.result, Outcome | Rejection)
        else:
            assert isinstance(answer.result, Outcome)
            assert isinstance(expected.result, Outcome)
            assert answer.result.items == expected.result.items, point
            assert len(answer.result.items) == len(nodes)
            queues = world.stores.queues()
            assert {queues[topic].state for topic in answer.result.topics} == {QueueState.ACTIVE}
        world.poll()
        assert_settled(world.stores, world.foreign)


def test_the_lease_is_renewed_while_we_work() -> None:
    """A slow broker does not cost the claim: 40 s of waiting, and nobody may take over."""
    stores = Stores(topics=MemoryTopics(ready_after=160))
    taken: list[int] = []

    def pause(seconds: float) -> None:
        stores.clock.sleep(seconds)
        taken.extend(1 for _ in stores.graph.overdue_claims(10))

    (answer,) = engine(stores, sleep=pause).submit([FIRST])
    assert isinstance(answer.result, Outcome)
    assert stores.clock.now_ms - START_MS > 30_000
    assert taken == []


def test_who_lost_the_claim_answers_what_the_new_owner_made_of_it() -> None:
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


def test_a_claim_that_was_taken_over_before_we_asked_the_broker_is_left_alone() -> None:
    """Between claim and provision another process finished it: our late look must not rename it."""
    stores = Stores()
    claimed = claim_in(stores.graph, FIRST, options("slow"))
    assert isinstance(claimed, Claimed)
    stores.clock.now_ms += 11_000
    other = Completion(stores.graph, stores.topics, stores.log, options("other"), stores.clock.sleep)
    assert other.finish_overdue() == 1
    before = snapshot(stores)
    late = Completion(stores.graph, stores.topics, stores.log, options("slow"), stores.clock.sleep)
    (answer,) = late.finish([(FIRST, claimed)])
    assert answer.result == claimed.outcome
    assert snapshot(stores) == before


@pytest.mark.parametrize("point", range(1, 14))
def test_a_claim_in_foreign_hands_is_left_alone_at_every_stage(point: int) -> None:
    """The new owner stands still somewhere: we, too late, neither rename, refuse nor create anything."""
    stores = Stores()
    claimed = claim_in(stores.graph, FIRST, options("slow"))
    assert isinstance(claimed, Claimed)
    stores.clock.now_ms += 11_000
    fuse = Fuse(point + 3)  # after the take-over itself
    graph, broker = CrashingGraph(stores.graph, fuse), CrashingTopics(stores.topics, fuse)
    with pytest.raises(CrashedError):
        Completion(graph, broker, stores.log, options("other"), stores.clock.sleep).finish_overdue()
    before, topics = stores.all_rows(), stores.topics.names()
    unkind = UnkindTopics(stores.topics, refuses="_")
    late = Completion(stores.graph, unkind, stores.log, options("slow"), stores.clock.sleep)
    lost = late.bring_up({claim_id(FIRST): claimed.provision})
    assert lost == {claim_id(FIRST)} or not stores.graph.transact(lambda tx: tx.claims(claim_id(FIRST))[0])
    assert (stores.all_rows(), stores.topics.names()) == (before, topics)


def test_our_own_leftovers_are_not_waited_for() -> None:
    """A batch that the broker's silence ended left claims of ours: the next one finishes them at once."""
    stores = Stores()
    assert isinstance(claim_in(stores.graph, FIRST, options("one")), Claimed)
    (answer,) = engine(stores, "one").submit([sub([PRICE, MEAN], 1, strategy="s2")])
    assert isinstance(answer.result, Outcome)
    assert stores.clock.now_ms == START_MS
    assert_settled(stores)


def test_no_version_is_in_force_before_the_queues_that_it_joined() -> None:
    """The rival's queue is refused in the end: the lineage that joined it must keep its own version."""
    stores = Stores()
    engine(stores).submit([sub([MEAN], 0, lineage="beta", strategy="s2")])
    broker = UnkindTopics(stores.topics, refuses="PriceInput_")
    joiner = sub([PRICE, MEAN], 2, lineage="beta", strategy="s2")
    found = engine(stores, topics=broker).submit([sub([PRICE, RISK], 1), joiner])
    assert all(isinstance(each.result, Rejection) for each in found)
    active = [row.key for row in stores.rows(SentinelRow) if row.state is SentinelState.ACTIVE]
    assert [(key.lineage, key.revision) for key in active] == [("beta", 1)]
