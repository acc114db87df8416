"""New nodes through the flow, beside the bare calls that they need at least."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from statistics import median
from typing import Any, Final

from benchmarks.live.floors import BESIDE, Floors
from benchmarks.live.site import HOP_TOPIC, Site
from benchmarks.live.spread import spread
from benchmarks.live.strategies import Node, Strategies
from benchmarks.live.traffic import Route
from dagmanager.engine.model.policy import Policy

WARM: Final = 2
WARM_NODES: Final = 10
WARM_TIMES: Final = 200
GOAL: Final = 1.3
POLICY: Final = Policy()


def warm_up(place: Site, flow: str, seconds: float, seed: int) -> None:
    """Send small submissions for this long: a database plans each statement once, and compiles frequent ones.

    Limited, because their topics stay and a broker may not open files for too many.
    """
    topics = place.settings(flow)
    until = time.monotonic() + seconds
    with closing(Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])) as route:
        for number in range(WARM_TIMES):
            route.one_by_one(Strategies(WARM_NODES, 1, seed=seed + number).first())
            if time.monotonic() > until:
                return


def measure(place: Site, flow: str, count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Submissions of `count` new nodes, one at a time, alternating with the bare calls, on idle servers."""
    topics = place.settings(flow)
    taken: dict[str, list[float]] = defaultdict(list)
    ratios: list[float] = []
    least: list[float] = []
    with (
        closing(Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])) as route,
        closing(Floors(place.kafka.address, place.neo4j.address)) as floors,
    ):
        for number in range(-WARM, rounds):
            strategies = Strategies(count, 1, seed=seed + number)
            [ours] = route.one_by_one(strategies.first())
            place.settle()
            bare = floors.measure(*shapes_of(strategies.nodes()), HOP_TOPIC)
            place.settle()  # the broker deletes the topics of the bare calls in the background
            if number < 0:
                continue
            taken["ours_ms"].append(ours)
            for name, value in bare.items():
                taken[name].append(value)
            ratios.append(ours / sum(value for name, value in bare.items() if name not in BESIDE))
            least.append(ours / sum(bare.values()))
    return {
        "ours": spread(taken.pop("ours_ms")),
        "bare": {
            name.removesuffix("_ms"): spread(values) for name, values in taken.items() if name not in BESIDE
        },
        "beside": {name.removesuffix("_ms"): spread(taken[name]) for name in BESIDE},
        "ratio": round(median(ratios), 2),
        "ratio_all": round(median(least), 2),
    }


def shapes_of(nodes: Sequence[Node]) -> tuple[list[int], int]:
    """The number of partitions of each node's topic, and of lists of queues that the nodes are in."""
    shapes = [POLICY.topic_spec(POLICY.topic_type(node["node_type"]), brokers=1).partitions for node in nodes]
    return shapes, len({(tag, node["interval"]) for node in nodes for tag in node["tags"]})


def line(count: str, found: dict[str, Any]) -> str:
    """As text."""
    ours = found["ours"]
    return (
        f"{count:>5} new nodes: p50 {ours['p50_ms']} ms, p95 {ours['p95_ms']} ms;"
        f" {found['ratio']} x the bare calls (goal {GOAL}): {_medians(found['bare'])};"
        f" {found['ratio_all']} x with what else must be written: {_medians(found['beside'])}"
    )


def _medians(calls: dict[str, Any]) -> str:
    return " + ".join(f"{name} {each['p50_ms']}" for name, each in calls.items())
