"""Nodes that nobody runs yet: what they take through the flow, beside the bare calls they cannot do without."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import closing
from statistics import median
from typing import Any, Final

from benchmarks.live.floors import Floors
from benchmarks.live.site import Site
from benchmarks.live.spread import spread
from benchmarks.live.strategies import Node, Strategies
from benchmarks.live.traffic import Route
from dagmanager.engine.policy import Policy

WARM: Final = 2
WARM_NODES: Final = 10
GOAL: Final = 1.3
POLICY: Final = Policy()


def warm_up(place: Site, flow: str, seconds: float, seed: int) -> None:
    """Small submissions for so long: a database plans each statement once, and compiles what it often runs."""
    topics = place.settings(flow)
    until = time.monotonic() + seconds
    with closing(Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])) as route:
        while time.monotonic() < until:
            seed += 1
            route.one_by_one(Strategies(WARM_NODES, 1, seed=seed).first())


def measure(place: Site, flow: str, count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Submissions of `count` new nodes, one at a time, in turns with the bare calls, on servers at rest."""
    topics = place.settings(flow)
    taken: dict[str, list[float]] = defaultdict(list)
    ratios: list[float] = []
    with (
        closing(Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])) as route,
        closing(Floors(place.kafka.address, place.neo4j.address)) as floors,
    ):
        for number in range(-WARM, rounds):
            strategies = Strategies(count, 1, seed=seed + number)
            [ours] = route.one_by_one(strategies.first())
            place.settle()
            bare = floors.measure([shape_of(node) for node in strategies.nodes()])
            place.settle()  # a broker deletes what the bare calls made for a while
            if number < 0:
                continue
            taken["ours_ms"].append(ours)
            for name, value in bare.items():
                taken[name].append(value)
            ratios.append(ours / sum(bare.values()))
    return {
        "ours": spread(taken.pop("ours_ms")),
        "bare": {name.removesuffix("_ms"): spread(values) for name, values in taken.items()},
        "ratio": round(median(ratios), 2),
    }


def shape_of(node: Node) -> int:
    """Partitions of a node's topic."""
    return POLICY.topic_spec(POLICY.topic_type(node["node_type"]), brokers=1).partitions


def line(count: str, found: dict[str, Any]) -> str:
    """For people."""
    bare = " + ".join(f"{name} {each['p50_ms']}" for name, each in found["bare"].items())
    ours = found["ours"]
    return (
        f"{count:>5} new nodes: p50 {ours['p50_ms']} ms, p95 {ours['p95_ms']} ms;"
        f" {found['ratio']} x the bare calls (goal {GOAL}): {bare}"
    )
