"""Several processes on one graph: what each of them does, and what must be true when all are done."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from dagmanager.dag.model import Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.graph_port import (
    EpochReading,
    Graph,
    HolderInsert,
    Known,
    LookupKeys,
    TaggedQueue,
    Transaction,
)
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.rows import ContentRow, NodeRow, OutboxRow, QueueRow, QueueState, Row, TagSetRow
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.model.version_rows import REFERENCING, SentinelRow, SentinelState
from dagmanager.errors import ErrorCode
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from tests.engine.builders import START_MS, Json, node, options, submission, tag_query
from tests.waiting import TIMEOUT_S

T = TypeVar("T")

NODES: list[Json] = []
for number in range(10):
    NODES.append(node(f"n{number}", tags=["BTC"], inputs=NODES[-2:], schema_hash="h0"))
QUERY = tag_query("watch", ["BTC", "x"])
TAGS: tuple[list[str], ...] = (["BTC"], ["BTC", "x"], ["ETH"], [])


@dataclass
class CountingGraph:
    """Counts how often work ran again: a deadlock, or a name that a rival took."""

    inner: Graph
    asked: int = 0
    ran: int = 0

    def transact(self, work: Callable[[Transaction], T]) -> T:
        def counted(tx: Transaction) -> T:
            self.ran += 1
            return work(tx)

        self.asked += 1
        return self.inner.transact(counted)

    def known(self, keys: LookupKeys) -> Known:
        return self.inner.known(keys)

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        return self.inner.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        return self.inner.epoch()

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        return self.inner.epoch_reading(counters)

    def warm_up(self, enough: Callable[[], bool]) -> None:
        self.inner.warm_up(enough)

    def add_holder(self, insert: HolderInsert) -> bool:
        return self.inner.add_holder(insert)

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        return self.inner.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        return self.inner.overdue_claims(limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        return self.inner.queues_after(topic, limit)


@dataclass
class Played:
    """The answers and published events of one rival; encodable, for a pipe between processes."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    creations: int = 0
    published: list[tuple[str, str]] = field(default_factory=list)
    transactions: int = 0
    reruns: int = 0


def same_dag(mine: int, rounds: int) -> list[Submission]:
    """Every rival submits all of it, each as another strategy."""
    return [
        submission(NODES, strategy=f"s{mine}", position=mine * 1_000 + step, at_ms=START_MS + step)
        for step in range(rounds)
    ]


def version_changes(mine: int, rounds: int) -> list[Submission]:
    """Versions of three lineages over the same few nodes, with other tags, schemas and weights each time."""
    dice = random.Random(mine)
    found: list[Submission] = []
    for step in range(rounds):
        chosen = [
            each | {"tags": dice.choice(TAGS), "schema_hash": dice.choice(["h0", "h0", "h1", "h2"])}
            for each in dice.sample(NODES, dice.randrange(2, 6))
        ]
        found.append(
            submission(
                [*chosen, QUERY] if dice.random() < 0.3 else chosen,
                strategy=f"s{dice.randrange(4)}" if dice.random() < 0.5 else f"p{mine}",
                lineage=f"l{dice.randrange(3)}" if dice.random() < 0.7 else f"own{mine}",
                version=dice.choice(["v1", "v1", "v2"]),
                weight=dice.choice([None, None, None, 0.25, 1.0]),
                world=dice.choice(["", "", "w1"]),
                position=mine * 1_000 + step,
                at_ms=START_MS + step * 1_000,
            )
        )
    return found


HISTORIES: Mapping[str, Callable[[int, int], list[Submission]]] = {
    "same dag": same_dag,
    "version changes": version_changes,
}


def play(graph: Graph, topics: Topics, mine: int, todo: Sequence[Submission]) -> Played:
    """One process: submits one after the other, as fast as it can."""
    counting, events = CountingGraph(graph), MemoryEvents()
    engine = Engine(
        counting, topics, events, MemoryAdminLog(), options(f"p{mine}"), lambda s: time.sleep(min(s, 0.002))
    )
    played = Played()
    for each in todo:
        for answer in engine.submit([each]):
            if isinstance(answer.result, Outcome):
                namespace = answer.submission.context.namespace
                played.answers += [(f"{key} in {namespace}", topic) for key, topic in answer.result.items]
                played.creations += answer.result.actions.create
            else:
                played.refused.append(answer.result.code.value)
    played.published = [(row.event_id, row.value.decode()) for row in events.published]
    played.transactions, played.reruns = counting.asked, counting.ran - counting.asked
    return played


def together(works: Sequence[Callable[[], T]]) -> list[T]:
    """One thread each, all started at the same moment; the first error is raised."""
    start = threading.Barrier(len(works))
    results: dict[int, T] = {}
    broken: list[BaseException] = []

    def run(mine: int) -> None:
        start.wait()
        try:
            results[mine] = works[mine]()
        except BaseException as error:
            broken.append(error)
            raise

    threads = [threading.Thread(target=run, args=(mine,)) for mine in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    if broken:
        raise broken[0]
    return [results[mine] for mine in range(len(works))]


def assert_same_answers(played: Iterable[Played]) -> None:
    """All rivals got the same topic for a node in a namespace, and one of them created it."""
    topics: dict[str, str] = {}
    all_played = list(played)
    for one in all_played:
        for key, topic in one.answers:
            assert topics.setdefault(key, topic) == topic, key
        # A share while two others are active: a rule, no accident.
        assert set(one.refused) <= {ErrorCode.TOO_MANY_VERSIONS.value}
    assert sum(one.creations for one in all_played) == len(topics)


def assert_sound(rows: Sequence[Row], topics: Iterable[str]) -> None:
    """Nothing is double, half done or lost, whatever the order was."""
    nodes = {row.node_id: row for row in rows if isinstance(row, NodeRow)}
    queues = [row for row in rows if isinstance(row, QueueRow)]
    sentinels = [row for row in rows if isinstance(row, SentinelRow)]
    contents = {row.digest: row for row in rows if isinstance(row, ContentRow)}
    assert len({row.binding for row in queues}) == len(queues)
    assert {(row.state, row.incarnation, row.claim_id) for row in queues} == {(QueueState.ACTIVE, 1, "")}
    assert sorted(row.topic for row in queues) == sorted(topics)
    assert {row.binding.node_id for row in queues} == set(nodes)
    assert [row.key for row in sentinels if row.state is SentinelState.PENDING or row.claim_id] == []
    assert [row for row in rows if isinstance(row, OutboxRow)] == []
    for lineage in {row.key[:2] for row in sentinels}:
        weights = [
            row.weight for row in sentinels if row.key[:2] == lineage and row.state is SentinelState.ACTIVE
        ]
        assert len(weights) <= 2
        assert abs(sum(weights) - 1.0) < 1e-9, (lineage, weights)
    assert_tags(nodes, [contents[row.content] for row in sentinels if row.state is SentinelState.ACTIVE])
    referenced = {
        (node_id, row.key.namespace)
        for row in sentinels
        if row.state in REFERENCING
        for member in contents[row.content].members
        for node_id in (member.node_id, *nodes[member.node_id].dependencies)
    }
    for queue in queues:
        held = queue.binding[:2] in referenced
        assert (queue.unreferenced_ms is None) == held, queue


def assert_tags(nodes: Mapping[str, NodeRow], active: Sequence[ContentRow]) -> None:
    union: dict[str, set[str]] = {}
    for content in active:
        for member in content.members:
            union.setdefault(member.node_id, set()).update(member.tags)
    assert {key: set(row.tags) for key, row in nodes.items()} == {key: union.get(key, set()) for key in nodes}


def assert_published_once(rows: Sequence[Row], played: Iterable[Played]) -> None:
    """Each revision of a tag set is one event; a repeat is byte-equal; the last one is what the set counts."""
    revisions: dict[tuple[Any, ...], str] = {}
    values: dict[str, str] = {}
    newest: dict[tuple[tuple[str, ...], int], int] = {}
    for one in played:
        for event_id, value in one.published:
            assert values.setdefault(event_id, value) == value
            data = orjson.loads(value)["data"]
            if "interval" not in data:
                continue  # a weight
            place = (tuple(data["tags"]), data["interval"])
            assert revisions.setdefault((*place, data["revision"]), event_id) == event_id
            newest[place] = max(newest.get(place, 0), data["revision"])
    counted = {(row.key.tags, row.key.interval): row.revision for row in rows if isinstance(row, TagSetRow)}
    assert newest == counted
