"""Random submissions from a seed: new and overlapping DAGs, versions, weights, schemas, resends, and invalid records."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node

Json = dict[str, Any]

SHARED_NODES: Final = 24
REMEMBERED: Final = 12
LINEAGES: Final = 6
INTERVALS: Final = (60, 300)
TAGS: Final = ("btc", "eth")
INVALID: Final[tuple[bytes | None, ...]] = (None, b"no json", b"{}", b'["gateway.ingest",1,"s","half')
SENT_MS: Final = 1_700_000_000_000


class InputRecord(NamedTuple):
    """A record on the submissions topic."""

    partition: int
    key: bytes
    value: bytes | None


def node(rng: random.Random, inputs: list[str]) -> Json:
    """A new node with its correct id."""
    kinds = ("ProcessingNode", "TradeExecNode") if inputs else ("StreamInput",)
    fields: Json = {
        "node_type": rng.choice(kinds),
        "interval": rng.choice(INTERVALS),
        "period": rng.randint(1, 5),
        "dependencies": sorted(inputs),
        "schema_compat_id": "c" * 64,
        "code_hash": f"{rng.getrandbits(256):064x}",
        "params": {"window": rng.randint(2, 500)},
        "name": f"n{rng.getrandbits(32):08x}",
    }
    return with_id(fields)


def tag_query(tags: tuple[str, ...], interval: int, match_mode: str) -> Json:
    """A tag query for these tags."""
    fields: Json = {
        "node_type": "TagQueryNode",
        "interval": interval,
        "period": 1,
        "dependencies": [],
        "schema_compat_id": "c" * 64,
        "code_hash": "d" * 64,
        "params": {},
        "tags": list(tags),
        "match_mode": match_mode,
        "name": "query",
    }
    return with_id(fields)


def with_id(fields: Json) -> Json:
    """The same node with the id that the product computes."""
    found = parse_node_json(orjson.dumps(fields))
    if not isinstance(found, Node):
        raise TypeError(found.message)
    return fields | {"node_id": found.node_id}


def shared_pool(seed: str) -> list[Json]:
    """Nodes that every share of one site draws from; each depends on earlier ones."""
    rng = random.Random(f"{seed}/pool")
    nodes: list[Json] = []
    for position in range(SHARED_NODES):
        inputs = [each["node_id"] for each in rng.sample(nodes, rng.randint(0, min(2, position)))]
        nodes.append(node(rng, inputs))
    return nodes


@dataclass
class SubmissionGenerator:
    """Generates the records of one share; equal seeds give equal bytes."""

    seed: str
    worlds: tuple[str, str]
    partitions: tuple[int, ...]
    own: list[Json] = field(default_factory=list)
    sent: list[InputRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The random numbers of this share, and the nodes shared by all."""
        self._rng = random.Random(f"{self.seed}/{self.partitions}")
        self._pool = shared_pool(self.seed)

    def records(self, count: int) -> list[InputRecord]:
        """The next records."""
        return [self._record() for _ in range(count)]

    def new_node(self) -> InputRecord:
        """A submission with a new tagged node, which will be claimed, created, activated and announced."""
        rng, partition = self._rng, self._rng.choice(self.partitions)
        fresh = node(rng, []) | {"tags": [rng.choice(TAGS)]}
        self.own = [*self.own[-REMEMBERED:], fresh]
        meta = {"strategy_name": f"line{rng.randrange(LINEAGES)}-{partition}", "version": "v1"}
        dag = {"schema_version": "v1", "nodes": [fresh], "meta": meta}
        context = {"execution_domain": "live"}
        given = {"world_ids": [self.worlds[0]], "dag": dag, "compute_context": context}
        return self._record_of(f"r{rng.getrandbits(40):010x}", partition, given)

    def invalid(self) -> InputRecord:
        """An invalid record."""
        partition = self._rng.choice(self.partitions)
        return InputRecord(partition, f"ingest:bad{partition}".encode(), self._rng.choice(INVALID))

    def _record(self) -> InputRecord:
        rng = self._rng
        partition = rng.choice(self.partitions)
        kind = rng.random()
        if kind < 0.06:
            return self.invalid()
        mine = [each for each in self.sent if each.partition == partition]
        if mine and kind < 0.16:  # the same bytes from the same strategy
            return rng.choice(mine)
        strategy = f"s{rng.randint(0, 5)}-{partition}" if kind < 0.5 else f"r{rng.getrandbits(40):010x}"
        if mine and 0.6 < kind < 0.75:  # the Gateway's ids are random: the same DAG under another one
            return self._record_of(strategy, partition, orjson.loads(rng.choice(mine).value or b"")[3])
        return self._record_of(strategy, partition, self._submission(partition))

    def _record_of(self, strategy: str, partition: int, given: Json) -> InputRecord:
        sent = submitted(strategy, partition, given)
        self.sent = [*self.sent[-REMEMBERED:], sent]
        return sent

    def _submission(self, partition: int) -> Json:
        rng = self._rng
        nodes = [self._with_schema_and_tags(each) for each in rng.sample(self._pool, rng.randint(1, 2))]
        if self.own and rng.random() < 0.3:
            nodes.append(self._with_schema_and_tags(rng.choice(self.own)))
        for _ in range(rng.choice((0, 1, 1, 2))):
            inputs = [each["node_id"] for each in nodes if rng.random() < 0.5]
            self.own = [*self.own[-REMEMBERED:], node(rng, inputs)]
            nodes.append(self._with_schema_and_tags(self.own[-1]))
        if rng.random() < 0.1:
            nodes.append(tag_query((rng.choice(TAGS),), rng.choice(INTERVALS), "any"))
        if rng.random() < 0.25:
            weight = rng.choice((0, 0.25, 0.5, 1))
            nodes.append({"node_type": "VersionSentinel", "node_id": "s", "traffic_weight": weight})
        lineage = f"line{rng.randrange(LINEAGES)}-{partition if rng.random() < 0.8 else 'all'}"
        meta = {"strategy_name": lineage, "version": rng.choice(("v1", "v1", "v2", "v3"))}
        distinct = {each["node_id"]: each for each in nodes}
        dag = {"schema_version": "v1", "nodes": list(distinct.values()), "meta": meta}
        one, other = self.worlds
        given: Json = {"world_ids": rng.choice(([one], [one], [one], [other], [one, other])), "dag": dag}
        context = {"execution_domain": rng.choice(("live", "live", "live", "shadow", "backtest"))}
        if context["execution_domain"] == "backtest" and rng.random() < 0.7:
            context["as_of"] = "2026-01-01T00:00:00Z"
        return given | {"compute_context": context}

    def _with_schema_and_tags(self, each: Json) -> Json:
        """The same node with a random schema and tags, which are not part of its id."""
        changed = dict(each)
        if schema := self._rng.choice(("a", "b", "", "")):
            changed["schema_hash"] = schema * 64
        if self._rng.random() < 0.2:
            changed["tags"] = [self._rng.choice(TAGS)]
        return changed


def tag_query_record(world: str) -> InputRecord:
    """Tag queries that are in force from the first to the last record: their announced lists must stay correct.

    No other submission queries in match mode `all`.
    """
    asked = ((tags, interval) for tags in (("btc",), ("eth",), TAGS) for interval in INTERVALS)
    return _sent(world, 0, "watcher", [tag_query(tags, interval, "all") for tags, interval in asked])


def end_marker(world: str, partition: int) -> InputRecord:
    """A dry run, which changes nothing: its answer shows that all records before it were handled."""
    fields: Json = {
        "node_type": "StreamInput",
        "interval": 60,
        "period": 1,
        "dependencies": [],
        "schema_compat_id": "c" * 64,
        "code_hash": "e" * 64,
        "params": {},
    }
    return _sent(world, partition, "dryrun", [with_id(fields)])


def _sent(world: str, partition: int, strategy: str, nodes: list[Json]) -> InputRecord:
    given = {
        "world_ids": [world],
        "compute_context": {"execution_domain": "live"},
        "dag": {"schema_version": "v1", "nodes": nodes, "meta": {"strategy_name": strategy}},
    }
    return submitted(strategy, partition, given)


def submitted(strategy: str, partition: int, given: Json) -> InputRecord:
    """A submission as the Gateway writes it."""
    value = orjson.dumps(["gateway.ingest", SENT_MS, strategy, given])
    return InputRecord(partition, f"ingest:{strategy}".encode(), value)
