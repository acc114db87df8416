"""The rate at which lag begins to grow: how fast a backlog is answered, by one process and by two."""

from __future__ import annotations

from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Final

from benchmarks.live.site import FlowProcess, Site
from benchmarks.live.strategies import Strategies
from benchmarks.live.traffic import Route

RECORDS: Final = 3_000
WARM: Final = 500
PROCESSES: Final = (1, 2)
GOAL: Final = 1.8


def measure(place: Site, size: int, seed: int, kind: str = "unchanged") -> dict[str, Any]:
    """Submissions a second for each number of processes, and how much two do of what one does."""
    rates = {str(count): _rate(place, size, kind, count, seed) for count in PROCESSES}
    one, two = rates.values()
    return {"kind": kind, "per_second": rates, "ratio": round(two / one, 2)}


def _rate(place: Site, size: int, kind: str, count: int, seed: int) -> float:
    flow = f"saturated-{size}-{count}-{seed}"
    topics = place.settings(flow)
    strategies = Strategies(size, 16, seed=50 + 10 * seed + count)
    with ExitStack() as stack:
        shares = [f"{index}/{count}" if count > 1 else "" for index in range(count)]
        for share in shares:
            stack.enter_context(FlowProcess(place, flow, share))
        route = Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])
        stack.enter_context(closing(route))
        route.one_by_one(strategies.first())
        stream = getattr(strategies, kind)()
        route.backlog(islice(stream, WARM))
        return round(RECORDS / route.backlog(islice(stream, RECORDS)), 1)


def line(size: str, found: dict[str, Any]) -> str:
    """For people."""
    rates = ", ".join(
        f"{count} process{'es' if count != '1' else ''} {rate}/s"
        for count, rate in found["per_second"].items()
    )
    return f"{size:>5} nodes {found['kind']}, saturated: {rates}: {found['ratio']} x (goal {GOAL})"
