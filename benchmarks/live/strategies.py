"""The submissions: strategies of 10 to 1,000 nodes, unchanged, under new ids, changed, or new.

Every strategy has its own nodes; `library` submits, under another lineage, the leaves that a strategy
will change to, so that a change creates a new version but no new topic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import orjson

from benchmarks.pure import node, strategy

WORLD: Final = "w1"
POOL: Final = 200
Node = dict[str, Any]
Keyed = tuple[bytes, bytes]


class Strategies:
    """`count` strategies of `size` nodes. Every method gives records as the Gateway writes them: (key, value)."""

    def __init__(self, size: int, count: int, seed: int = 0) -> None:
        self.size = size
        self._dice = random.Random(f"{size} {seed}")
        self._names = [f"bench-{size}-{seed}-{number}" for number in range(count)]
        self._nodes = {
            name: tagged(name, strategy(size, seed=size * 1_000 + seed * 100 + number)[0])
            for number, name in enumerate(self._names)
        }
        self._pool = {name: self._leaves(name) for name in self._names}
        self._versions = dict.fromkeys(self._names, 0)

    def nodes(self) -> list[Node]:
        """All nodes, strategy after strategy."""
        return [node for name in self._names for node in self._nodes[name]]

    def first(self) -> list[Keyed]:
        """Each strategy for the first time."""
        return [self._record(name, name) for name in self._names]

    def library(self) -> list[Keyed]:
        """The leaves that `changed` chooses from, with all their dependencies."""
        return [
            keyed(
                f"{name}-library",
                f"{name}-library",
                [*self._nodes[name], *(leaf for _, leaf in self._pool[name])],
            )
            for name in self._names
        ]

    def unchanged(self) -> Iterator[Keyed]:
        """The same bytes repeatedly, one strategy after the other, without end."""
        kept = {name: self._record(name, name) for name in self._names}
        while True:
            yield from kept.values()

    def new_id(self) -> Iterator[Keyed]:
        """The same DAGs, each time under a new strategy_id, as the Gateway sends them."""
        while True:
            for name in self._names:
                yield self._record(name, f"{self._dice.getrandbits(128):032x}")

    def changed(self) -> Iterator[Keyed]:
        """One node in a hundred is replaced by another one of the library, under a new version."""
        while True:
            for name in self._names:
                self._versions[name] += 1
                nodes = list(self._nodes[name])
                for position, leaf in self._dice.sample(self._pool[name], max(1, self.size // 100)):
                    nodes[position] = leaf
                yield keyed(name, name, nodes, f"v{self._versions[name]}")

    def _leaves(self, name: str) -> list[tuple[int, Node]]:
        """Variants of the leaves, with their positions."""
        nodes = self._nodes[name]
        used = {each for one in nodes for each in one["dependencies"]}
        leaves = [at for at, one in enumerate(nodes) if one["node_id"] not in used and one["inputs"]]
        return [
            (at, node(at, self._dice, nodes[at]["inputs"], salt=1 + turn) | {"tags": nodes[at]["tags"]})
            for turn in range(max(1, POOL // len(leaves)) + 1)
            for at in leaves
        ][: min(POOL, 2 * self.size // 10)]

    def _record(self, name: str, strategy_id: str) -> Keyed:
        return keyed(name, strategy_id, self._nodes[name])


def tagged(name: str, nodes: list[Node]) -> list[Node]:
    """Ten nodes share a tag, so that lists of queues always have the same length."""
    return [each | {"tags": [f"{name}-{at // 10}"]} for at, each in enumerate(nodes)]


def keyed(name: str, strategy_id: str, nodes: list[Node], version: str = "v0") -> Keyed:
    """One record in the commit-log format, live in one world."""
    dag = {"schema_version": "v1", "nodes": nodes, "meta": {"strategy_name": name, "version": version}}
    payload = {"world_ids": [WORLD], "compute_context": {"execution_domain": "live"}, "dag": dag}
    value = orjson.dumps(["gateway.ingest", 1_700_000_000_000, strategy_id, payload])
    return f"ingest:{strategy_id}".encode(), value
