"""Nodes that nobody runs yet: what they take through the flow, beside the bare calls they cannot do without."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from statistics import median
from typing import Any, Final

from benchmarks.live.floors import Floors
from benchmarks.live.site import Site
from benchmarks.live.spread import spread
from benchmarks.live.strategies import Strategies
from benchmarks.live.traffic import Route

WARM: Final = 2
GOAL: Final = 1.3


def measure(place: Site, flow: str, count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Submissions of `count` new nodes, one at a time, in turns with the bare calls."""
    topics = place.settings(flow)
    taken: dict[str, list[float]] = defaultdict(list)
    ratios: list[float] = []
    with (
        closing(Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])) as route,
        closing(Floors(place.kafka.address, place.neo4j.address)) as floors,
    ):
        for number in range(-WARM, rounds):
            [ours] = route.one_by_one(Strategies(count, 1, seed=seed + number).first())
            bare = floors.measure(count)
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


def line(count: str, found: dict[str, Any]) -> str:
    """For people."""
    bare = " + ".join(f"{name} {each['p50_ms']}" for name, each in found["bare"].items())
    ours = found["ours"]
    return (
        f"{count:>5} new nodes: p50 {ours['p50_ms']} ms, p95 {ours['p95_ms']} ms;"
        f" {found['ratio']} x the bare calls (goal {GOAL}): {bare}"
    )
