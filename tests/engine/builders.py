"""Submissions from node dicts, through the very code that reads records, and a world to run them in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node, Origin, Record, Submission
from dagmanager.engine.effects.claim_completion import Completion
from dagmanager.engine.engine import Engine
from dagmanager.engine.model.admin_log_port import AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.graph_port import Graph
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.policy import ClaimOptions, Policy
from dagmanager.engine.model.rows import OutcomeRow, QueueRow, Row
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.reader import Reader, ReadOptions
from dagmanager.engine.stages import Answer
from dagmanager.errors import Rejection
from dagmanager.graph.embedded.memory import MemoryGraph
from dagmanager.topics.admin_log import MemoryAdminLog
from dagmanager.topics.events import MemoryEvents
from dagmanager.topics.memory import MemoryTopics
from tests.graph.builders import store

Json = dict[str, Any]

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
POLICY = Policy(cap_replication=True)
_reader = Reader(ReadOptions())


def node(name: str, *, tags: Sequence[str] = (), inputs: Sequence[Json | str] = (), **fields: Any) -> Json:
    """A node dict with its right id; `code` tells nodes apart (it is the name unless given)."""
    built: Json = {
        "node_type": "ProcessingNode",
        "interval": 60,
        "period": 5,
        "schema_compat_id": "compat",
        "code_hash": fields.pop("code", name),
        "name": name,
        "tags": list(tags),
        "inputs": [each if isinstance(each, str) else each["node_id"] for each in inputs],
        **fields,
    }
    parsed = parse_node_json(orjson.dumps(built))
    assert isinstance(parsed, Node), parsed
    return {**built, "node_id": parsed.node_id}


def tag_query(name: str, tags: Sequence[str], match_mode: str = "any") -> Json:
    return node(name, tags=tags, node_type="TagQueryNode", match_mode=match_mode)


def record(
    nodes: Sequence[Json],
    *,
    strategy: str = "s1",
    lineage: str = "alpha",
    version: str = "v1",
    weight: float | None = None,
    world: str = "",
    worlds: Sequence[str] = (),
    namespace: str = "",
    domain: str = "live",
    as_of: str = "",
    at_ms: int = START_MS,
    position: int = 0,
) -> Record:
    sentinel: Json = {"node_type": "VersionSentinel", "version": version}
    if weight is not None:
        sentinel["weight"] = weight
    body: Json = {
        "strategy_id": strategy,
        "dag": {"nodes": [*nodes, sentinel], "meta": {"strategy_name": lineage}},
        "execution_domain": domain,
        "as_of": as_of,
    }
    if namespace:
        body["dag"]["meta"]["topic_namespace"] = namespace
    if world:
        body["world_id"] = world
    if worlds:
        body["world_ids"] = list(worlds)
    return Record(orjson.dumps(body), Origin("submissions", "t1", 0, position), strategy.encode(), at_ms)


def submissions(nodes: Sequence[Json], **fields: Any) -> tuple[Submission, ...]:
    found = _reader.read(record(nodes, **fields))
    good = tuple(one for one in found if isinstance(one, Submission))
    assert len(good) == len(found), found
    return good


def submission(nodes: Sequence[Json], **fields: Any) -> Submission:
    (one,) = submissions(nodes, **fields)
    return one


@dataclass
class Clock:
    now_ms: int = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        """Advance the clock: time passes only during a sleep."""
        self.now_ms += int(seconds * 1000)


class WallClock(Clock):
    """For graphs that have a clock of their own: waiting is waiting."""

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class AuditedGraph(Graph, Protocol):
    """A graph that can be looked through after a test."""

    def rows(self) -> tuple[Row, ...]: ...


@dataclass
class Stores:
    """What outlives a process; `open_graph` gives it a graph that runs by its clock."""

    clock: Clock = field(default_factory=Clock)
    topics: MemoryTopics = field(default_factory=MemoryTopics)
    events: MemoryEvents = field(default_factory=MemoryEvents)
    log: MemoryAdminLog = field(default_factory=MemoryAdminLog)
    open_graph: Callable[[Clock], AuditedGraph] = MemoryGraph
    graph: AuditedGraph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = self.open_graph(self.clock)

    def rows(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.graph.rows() if isinstance(row, kind)]

    def all_rows(self) -> tuple[Row, ...]:
        return self.graph.rows()

    def effects(self) -> tuple[Row, ...]:
        """All but what was answered."""
        return tuple(row for row in self.all_rows() if not isinstance(row, OutcomeRow))

    def queues(self) -> dict[str, QueueRow]:
        return {row.topic: row for row in self.rows(QueueRow)}

    def outcomes(self) -> dict[str, bytes]:
        return {row.claim_id: row.body for row in self.rows(OutcomeRow)}

    def put(self, *rows: Row) -> None:
        store(self.graph, *rows)


def options(owner: str = "one", policy: Policy = POLICY) -> ClaimOptions:
    return ClaimOptions(owner, policy)


def engine(stores: Stores, owner: str = "one", policy: Policy = POLICY, **ports: Any) -> Engine:
    graph: Graph = ports.get("graph", stores.graph)
    topics: Topics = ports.get("topics", stores.topics)
    events: EventSink = ports.get("events", stores.events)
    log: AdminLog = ports.get("log", stores.log)
    clock = stores.clock
    sleep = ports.get("sleep", clock.sleep)
    names = {"graph", "topics", "events", "log", "sleep"}
    given = {name: value for name, value in ports.items() if name not in names}
    return Engine(
        graph, topics, events, log, options(owner, policy), sleep, timer=lambda: clock() / 1_000, **given
    )


def completion(stores: Stores, owner: str) -> Completion:
    return Completion(stores.graph, stores.topics, stores.log, options(owner), stores.clock.sleep)


def accepted(answer: Answer) -> Outcome:
    assert isinstance(answer.result, Outcome), answer.result
    return answer.result


def refused(answer: Answer) -> Rejection:
    assert isinstance(answer.result, Rejection), answer.result
    return answer.result


def topics_of(answer: Answer) -> list[str]:
    """The topics of the answer, in the DAG's order."""
    return [topic for _, topic in accepted(answer).items]
