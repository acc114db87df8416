"""Random strategies as the Gateway sends them: a pool of nodes, versions, schemas, worlds; all valid."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import orjson

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node, Origin, Record

SCHEMA = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
BASE_MS = 1_700_000_000_000
TYPES = ("StreamInput", "ProcessingNode", "TradeExecNode")


def node(dice: random.Random, dependencies: list[str], name: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "node_type": dice.choice(TYPES) if dependencies else "StreamInput",
        "interval": dice.choice([60, 300]),
        "period": dice.randint(1, 5),
        "dependencies": dependencies,
        "schema_compat_id": SCHEMA,
        "code_hash": f"{dice.getrandbits(256):064x}",
        "params": {"window": dice.randint(2, 500)},
        "name": name,
    }
    found = parse_node_json(orjson.dumps(fields))
    assert isinstance(found, Node), found
    return fields | {"node_id": found.node_id}


def pool(dice: random.Random, size: int, prefix: str) -> list[dict[str, Any]]:
    """Nodes of which each depends on earlier ones."""
    nodes: list[dict[str, Any]] = []
    for position in range(size):
        count = dice.randint(0, min(2, position))
        chosen = sorted(each["node_id"] for each in dice.sample(nodes, count))
        nodes.append(node(dice, chosen, f"{prefix}{position}"))
    return nodes


@dataclass
class Market:
    """What strategies are made of. One lineage per strategy, or shared ones."""

    dice: random.Random
    shared: list[dict[str, Any]]
    own: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    schemas_of_shared: tuple[str, ...] = ("a", "b", "")
    shared_lineages: bool = True
    domains: tuple[str, ...] = ("live", "live", "live", "backtest", "shadow")

    def strategy(self, strategy_id: str) -> bytes:
        """One submission of this strategy."""
        dice = self.dice
        nodes = [
            self._drawn(each, self.schemas_of_shared)
            for each in dice.sample(self.shared, min(dice.randint(1, 4), len(self.shared)))
        ]
        if own := self.own.get(strategy_id):
            nodes += [
                self._drawn(each, ("a", "b", "c", ""))
                for each in dice.sample(own, dice.randint(0 if nodes else 1, len(own)))
            ]
        lineage = f"line-{strategy_id}"
        if self.shared_lineages:  # the Gateway's ids are random: several belong to one lineage
            lineage = f"line{int(strategy_id[1:]) % 3}"
        meta: dict[str, Any] = {"strategy_name": lineage, "version": dice.choice(["v1", "v1", "v2", "v3"])}
        dag = {"schema_version": "v1", "nodes": nodes, "meta": meta}
        if dice.random() < 0.2:
            sentinel = {
                "node_type": "VersionSentinel",
                "node_id": "s",
                "traffic_weight": dice.choice([0, 0.5, 1]),
            }
            nodes.append(sentinel)
        given: dict[str, Any] = {"world_ids": dice.choice([["w1"], ["w1"], ["w2"], ["w1", "w2"]])}
        domain = dice.choice(self.domains)
        context = {"execution_domain": domain}
        if domain == "backtest" and dice.random() < 0.7:
            context["as_of"] = "2026-01-01T00:00:00Z"
        given |= {"compute_context": context, "dag": dag}
        return orjson.dumps(["gateway.ingest", BASE_MS, strategy_id, given])

    def _drawn(self, each: dict[str, Any], schemas: tuple[str, ...]) -> dict[str, Any]:
        drawn = dict(each)
        if schema := self.dice.choice(schemas):
            drawn["schema_hash"] = schema * 64
        if self.dice.random() < 0.3:
            drawn["tags"] = [self.dice.choice(["btc", "eth"])]
        return drawn


def record(value: bytes, position: int, strategy_id: str, partition: int = 0) -> Record:
    """As it lies on a topic."""
    origin = Origin("submissions", "topic-id", partition, position)
    return Record(value, origin, f"ingest:{strategy_id}".encode(), BASE_MS + position)


def records(market: Market, strategies: list[str], count: int, resend: float = 0.15) -> list[Record]:
    """Submissions in order of arrival; some send their last bytes again."""
    last: dict[str, bytes] = {}
    found: list[Record] = []
    for position in range(count):
        strategy_id = market.dice.choice(strategies)
        again = last.get(strategy_id) if market.dice.random() < resend else None
        value = last[strategy_id] = again or market.strategy(strategy_id)
        found.append(record(value, position, strategy_id))
    return found
