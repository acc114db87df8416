"""The rate at which lag begins to grow: how fast a backlog is answered, by one process and by two."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Final, NamedTuple

from benchmarks.live.site import FlowProcess, Site, processor_seconds
from benchmarks.live.strategies import Strategies
from benchmarks.live.traffic import Route

RECORDS: Final = 3_000
WARM: Final = 500
PROCESSES: Final = (1, 2)
GOAL: Final = 1.8


class Backlog(NamedTuple):
    """Submissions a second, and the cores that broker, database, flow and client were busy on meanwhile."""

    rate: float
    cores: dict[str, float]


def measure(place: Site, size: int, seed: int, kind: str = "unchanged") -> dict[str, Any]:
    """Submissions a second for each number of processes, and how much two do of what one does.

    `possible` is how much they could do at most: what one leaves of the machine's cores, if each submission
    takes the same work.
    """
    found = {str(count): _backlog(place, size, kind, count, seed) for count in PROCESSES}
    one, two = found.values()
    machine = len(os.sched_getaffinity(0))
    return {
        "kind": kind,
        "per_second": {count: each.rate for count, each in found.items()},
        "cores": {count: each.cores for count, each in found.items()},
        "ratio": round(two.rate / one.rate, 2),
        "possible": round(machine / sum(one.cores.values()), 2),
    }


def _backlog(place: Site, size: int, kind: str, count: int, seed: int) -> Backlog:
    flow = f"saturated-{size}-{count}-{seed}"
    topics = place.settings(flow)
    strategies = Strategies(size, 16, seed=50 + 10 * seed + count)
    with ExitStack() as stack:
        shares = [f"{index}/{count}" if count > 1 else "" for index in range(count)]
        flows = [stack.enter_context(FlowProcess(place, flow, share)) for share in shares]
        route = Route(place.kafka.address, topics["submissions_topic"], topics["diffs_topic"])
        stack.enter_context(closing(route))
        route.one_by_one(strategies.first())
        stream = getattr(strategies, kind)()
        route.backlog(islice(stream, WARM))
        pids: dict[str, list[int | None]] = {
            "broker": [place.kafka.pid],
            "database": [place.neo4j.pid],
            "flow": [each.pid for each in flows],
            "client": [os.getpid()],
        }
        before = _processor(pids)
        seconds = route.backlog(islice(stream, RECORDS))
        after = _processor(pids)
    cores = {name: round((after[name] - before[name]) / seconds, 2) for name in pids}
    return Backlog(round(RECORDS / seconds, 1), cores)


def _processor(pids: Mapping[str, Iterable[int | None]]) -> dict[str, float]:
    return {
        name: sum(processor_seconds(each) for each in some if each is not None) for name, some in pids.items()
    }


def line(size: str, found: dict[str, Any]) -> str:
    """For people."""
    rates = ", ".join(
        f"{count} process{'es' if count != '1' else ''} {rate}/s"
        for count, rate in found["per_second"].items()
    )
    busy = ", ".join(f"{name} {each}" for name, each in found["cores"]["1"].items())
    return (
        f"{size:>5} nodes {found['kind']}, saturated: {rates}: {found['ratio']} x (goal {GOAL}); with one process"
        f" these cores are busy: {busy}, so that {found['possible']} x is possible here"
    )
