"""The world in which processes crash between effects, what they do there, and what must be true afterwards.

The stores are in memory unless `open_stores` says otherwise: the same scenarios run on any graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from chaos.ports import watched
from dagmanager.dag.model import Submission
from dagmanager.engine.effects.claim_completion import Completion
from dagmanager.engine.effects.outbox import publish_outbox
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.outcome import encode
from dagmanager.engine.model.rows import (
    GONE,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    SchemaSeen,
    TagSetRow,
    TopicSpec,
)
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.model.version_rows import HolderRow, SentinelRow, SentinelState
from dagmanager.engine.stages import Answer
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.decision import Claimed
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
from tests.engine.crashing import CrashedError, Fuse, UnkindTopics

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
    """`before` is history without a crash; `batches` are what the crashing process does.

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


def embedded(topics: MemoryTopics) -> Stores:
    return Stores(topics=topics)


@dataclass
class World:
    """Stores and a broker that outlive processes; topic ids count creations."""

    scenario: Scenario
    open_stores: Callable[[MemoryTopics], Stores] = embedded
    stores: Stores = field(init=False)
    broker: Topics = field(init=False)
    foreign: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        numbers = itertools.count(1)
        self.stores = self.open_stores(MemoryTopics(new_id=lambda: f"id{next(numbers)}"))
        one = self.scenario
        self.broker = self.stores.topics
        one.before(self)
        self.foreign = frozenset(self.stores.topics.names()) - set(self.stores.queues())
        self.broker = UnkindTopics(self.stores.topics, one.refuses, one.silences, one.vague)

    def engine(self, owner: str, fuse: Fuse | None = None) -> Engine:
        process = engine(self.stores, owner, HASTY, topics=self.broker)
        return process if fuse is None else watched(process, fuse)

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
        """What every process does every 5 s, after the lease of the process that died has ended."""
        self.stores.clock.sleep((HASTY.lease_ms + 1) / 1000)
        graph, log = self.stores.graph, self.stores.log
        Completion(graph, self.broker, log, options("poll"), self.stores.clock.sleep).finish_overdue()
        publish_outbox(graph, self.stores.events)


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
    """Foreign topics under the names that these nodes would get."""

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
# The snapshot of a crash that the poll repairs is one of the uncrashed run only if claims come one by one.
ONE_BY_ONE = [each for each in SCENARIOS if all(len(batch) == 1 for batch in each.batches)]


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
        case NodeRow():
            buffering = row.buffering_since_ms if row.buffering_since_ms is None else 0
            return msgspec.structs.replace(
                row, created_ms=0, schemas=undated(row.schemas), buffering_since_ms=buffering
            )
        case OutcomeRow():
            return msgspec.structs.replace(row, created_ms=0)
        case _:
            return row


def undated(schemas: Iterable[SchemaSeen]) -> tuple[SchemaSeen, ...]:
    """Schemas without the times at which they were last current, which the store's clock gives."""
    return tuple(each._replace(last_current_ms=0) for each in schemas)


def snapshot(stores: Stores) -> list[Row]:
    return [timeless(row) for row in stores.all_rows() if not isinstance(row, OutboxRow)]


def without_counts(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not isinstance(row, CounterRow | TagSetRow)]


def assert_as_if_whole(world: World, whole: World, where: object) -> None:
    """The stores are as without a crash, and every event is published."""
    if world.scenario.refuses:
        world.poll()  # other queues of a refused claim are in no answer: the poll activates them
    assert_settled(world.stores, world.foreign)
    if world.scenario.name == "refused_topic_that_another_joined":
        return  # see `test_no_version_is_active_before_the_queues_that_it_joined`
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
    return range(1, fuse.passed + 1)
