"""Random submissions from a seed: new and overlapping DAGs, versions, weights, schemas, resends, and bad records."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node

Json = dict[str, Any]

SHARED_NODES: Final = 24
KEPT: Final = 12
LINEAGES: Final = 6
INTERVALS: Final = (60, 300)
TAGS: Final = ("btc", "eth")
BAD: Final[tuple[bytes | None, ...]] = (None, b"no json", b"{}", b'["gateway.ingest",1,"s","half')
SENT_MS: Final = 1_700_000_000_000


class Sent(NamedTuple):
    """One record as a producer sends it."""

    partition: int
    key: bytes
    value: bytes | None


def node(dice: random.Random, inputs: list[str]) -> Json:
    """A node nobody has seen, with its right id."""
    kinds = ("ProcessingNode", "TradeExecNode") if inputs else ("StreamInput",)
    fields: Json = {
        "node_type": dice.choice(kinds),
        "interval": dice.choice(INTERVALS),
        "period": dice.randint(1, 5),
        "dependencies": sorted(inputs),
        "schema_compat_id": "c" * 64,
        "code_hash": f"{dice.getrandbits(256):064x}",
        "params": {"window": dice.randint(2, 500)},
        "name": f"n{dice.getrandbits(32):08x}",
    }
    return with_id(fields)


def tag_query(tags: tuple[str, ...], interval: int, match_mode: str) -> Json:
    """Asks for all queues behind tags."""
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
    """As the contract computes it."""
    found = parse_node_json(orjson.dumps(fields))
    if not isinstance(found, Node):
        raise TypeError(found.message)
    return fields | {"node_id": found.node_id}


def shared_pool(seed: str) -> list[Json]:
    """Nodes that every share of one site draws from; each depends on earlier ones."""
    dice = random.Random(f"{seed}/pool")
    nodes: list[Json] = []
    for position in range(SHARED_NODES):
        inputs = [each["node_id"] for each in dice.sample(nodes, dice.randint(0, min(2, position)))]
        nodes.append(node(dice, inputs))
    return nodes


@dataclass
class Market:
    """What one share's strategies send; equal seeds send equal bytes."""

    seed: str
    worlds: tuple[str, str]
    partitions: tuple[int, ...]
    own: list[Json] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The dice of this share, and the nodes of all."""
        self._dice = random.Random(f"{self.seed}/{self.partitions}")
        self._pool = shared_pool(self.seed)

    def records(self, count: int) -> list[Sent]:
        """The next ones."""
        return [self._record() for _ in range(count)]

    def news(self) -> Sent:
        """A tagged node that nobody has seen: it is claimed, created, activated and announced."""
        dice, partition = self._dice, self._dice.choice(self.partitions)
        fresh = node(dice, []) | {"tags": [dice.choice(TAGS)]}
        self.own = [*self.own[-KEPT:], fresh]
        meta = {"strategy_name": f"line{dice.randrange(LINEAGES)}-{partition}", "version": "v1"}
        dag = {"schema_version": "v1", "nodes": [fresh], "meta": meta}
        context = {"execution_domain": "live"}
        given = {"world_ids": [self.worlds[0]], "dag": dag, "compute_context": context}
        return self._sent_by(f"r{dice.getrandbits(40):010x}", partition, given)

    def bad(self) -> Sent:
        """A record that is refused by itself."""
        partition = self._dice.choice(self.partitions)
        return Sent(partition, f"ingest:bad{partition}".encode(), self._dice.choice(BAD))

    def _record(self) -> Sent:
        dice = self._dice
        partition = dice.choice(self.partitions)
        kind = dice.random()
        if kind < 0.06:
            return self.bad()
        mine = [each for each in self.sent if each.partition == partition]
        if mine and kind < 0.16:  # the same bytes from the same strategy
            return dice.choice(mine)
        strategy = f"s{dice.randint(0, 5)}-{partition}" if kind < 0.5 else f"r{dice.getrandbits(40):010x}"
        if mine and 0.6 < kind < 0.75:  # the Gateway's ids are random: the same DAG under another one
            return self._sent_by(strategy, partition, orjson.loads(dice.choice(mine).value or b"")[3])
        return self._sent_by(strategy, partition, self._submission(partition))

    def _sent_by(self, strategy: str, partition: int, given: Json) -> Sent:
        sent = submitted(strategy, partition, given)
        self.sent = [*self.sent[-KEPT:], sent]
        return sent

    def _submission(self, partition: int) -> Json:
        dice = self._dice
        nodes = [self._dressed(each) for each in dice.sample(self._pool, dice.randint(1, 2))]
        if self.own and dice.random() < 0.3:
            nodes.append(self._dressed(dice.choice(self.own)))
        for _ in range(dice.choice((0, 1, 1, 2))):
            inputs = [each["node_id"] for each in nodes if dice.random() < 0.5]
            self.own = [*self.own[-KEPT:], node(dice, inputs)]
            nodes.append(self._dressed(self.own[-1]))
        if dice.random() < 0.1:
            nodes.append(tag_query((dice.choice(TAGS),), dice.choice(INTERVALS), "any"))
        if dice.random() < 0.25:
            weight = dice.choice((0, 0.25, 0.5, 1))
            nodes.append({"node_type": "VersionSentinel", "node_id": "s", "traffic_weight": weight})
        lineage = f"line{dice.randrange(LINEAGES)}-{partition if dice.random() < 0.8 else 'all'}"
        meta = {"strategy_name": lineage, "version": dice.choice(("v1", "v1", "v2", "v3"))}
        distinct = {each["node_id"]: each for each in nodes}
        dag = {"schema_version": "v1", "nodes": list(distinct.values()), "meta": meta}
        one, other = self.worlds
        given: Json = {"world_ids": dice.choice(([one], [one], [one], [other], [one, other])), "dag": dag}
        context = {"execution_domain": dice.choice(("live", "live", "live", "shadow", "backtest"))}
        if context["execution_domain"] == "backtest" and dice.random() < 0.7:
            context["as_of"] = "2026-01-01T00:00:00Z"
        return given | {"compute_context": context}

    def _dressed(self, each: Json) -> Json:
        """The same node with a schema of today and tags, which are no part of its id."""
        dressed = dict(each)
        if schema := self._dice.choice(("a", "b", "", "")):
            dressed["schema_hash"] = schema * 64
        if self._dice.random() < 0.2:
            dressed["tags"] = [self._dice.choice(TAGS)]
        return dressed


def watcher(world: str) -> Sent:
    """Tag queries that are in force from the first to the last record: their announced lists must stay correct.

    Nobody else asks in match mode `all`.
    """
    asked = ((tags, interval) for tags in (("btc",), ("eth",), TAGS) for interval in INTERVALS)
    return _sent(world, 0, "watcher", [tag_query(tags, interval, "all") for tags, interval in asked])


def last_word(world: str, partition: int) -> Sent:
    """A dry run: it is answered and written nowhere, so its answer says that all before it were handled."""
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


def _sent(world: str, partition: int, strategy: str, nodes: list[Json]) -> Sent:
    given = {
        "world_ids": [world],
        "compute_context": {"execution_domain": "live"},
        "dag": {"schema_version": "v1", "nodes": nodes, "meta": {"strategy_name": strategy}},
    }
    return submitted(strategy, partition, given)


def submitted(strategy: str, partition: int, given: Json) -> Sent:
    """As the Gateway writes it into its commit log."""
    value = orjson.dumps(["gateway.ingest", SENT_MS, strategy, given])
    return Sent(partition, f"ingest:{strategy}".encode(), value)
