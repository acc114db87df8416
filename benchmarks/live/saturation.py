"""The rate at which lag begins to grow: how fast a backlog is answered, by one process and by two.

Broker, database and client share the machine with them. Where that leaves no core for a second process, `shares` shows
what it would do on more cores: each process is then limited to a small share of a core, and two have twice as much.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Final, NamedTuple
from zlib import crc32

from benchmarks.live.quota import limited
from benchmarks.live.site import FlowProcess, Site, processor_seconds
from benchmarks.live.strategies import Strategies
from benchmarks.live.traffic import Route
from dagmanager.topics.kafka_preflight import TOPIC_PARTITIONS

RECORDS: Final = 3_000
WARM: Final = 500
PROCESSES: Final = (1, 2)
GOAL: Final = 1.8
# Two of these leave enough of two cores to broker and client.
SHARE: Final = 0.2
SHARED_RECORDS: Final = 1_500
STRATEGIES: Final = 16


class Backlog(NamedTuple):
    """Submissions a second, and the cores that broker, database, flow and client were busy on meanwhile.

    `is_free`: no flow was limited, although a limit was requested.
    """

    rate: float
    cores: dict[str, float]
    is_free: bool = False


def measure(place: Site, size: int, seed: int, kind: str = "unchanged") -> dict[str, Any]:
    """Submissions a second for each number of processes, and the ratio of two to one.

    `possible` is the upper bound of that ratio: the cores that one process leaves, if each submission takes the same work.
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
        "shares": _shares(place, size, kind, seed),
    }


def _shares(place: Site, size: int, kind: str, seed: int) -> dict[str, Any] | None:
    """The same with each process limited to a share of a core; None where the kernel does not permit it."""
    found = {str(count): _backlog(place, size, kind, count, seed, SHARE) for count in PROCESSES}
    one, two = found.values()
    if one.is_free or two.is_free:
        return None
    return {
        "share": SHARE,
        "per_second": {count: each.rate for count, each in found.items()},
        "cores": {count: each.cores for count, each in found.items()},
        "ratio": round(two.rate / one.rate, 2),
    }


def _backlog(place: Site, size: int, kind: str, count: int, seed: int, share: float = 0.0) -> Backlog:
    flow = f"saturated-{size}-{count}-{seed}{'-shares' if share else ''}"
    topics = place.settings(flow)
    strategies = evenly_divided(size, 50 + 10 * seed + count)
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
        is_limited = not share or stack.enter_context(limited([each.pid for each in flows], share))
        records = SHARED_RECORDS if share else RECORDS
        before = _processor(pids)
        seconds = route.backlog(islice(stream, records))
        after = _processor(pids)
    cores = {name: round((after[name] - before[name]) / seconds, 2) for name in pids}
    return Backlog(round(records / seconds, 1), cores, not is_limited)


def evenly_divided(size: int, seed: int) -> Strategies:
    """Equally many for each process: an uneven split would count against the slower one."""
    while True:
        made = Strategies(size, STRATEGIES, seed)
        # The benchmark's client uses the library's default partitioner.
        shares = Counter(crc32(key) % TOPIC_PARTITIONS % max(PROCESSES) for key, _ in made.first())
        if set(shares.values()) == {STRATEGIES // max(PROCESSES)}:
            return made
        seed += 1_000


def _processor(pids: Mapping[str, Iterable[int | None]]) -> dict[str, float]:
    return {
        name: sum(processor_seconds(each) for each in some if each is not None) for name, some in pids.items()
    }


def line(size: str, found: dict[str, Any]) -> str:
    """As text."""
    busy = ", ".join(f"{name} {each}" for name, each in found["cores"]["1"].items())
    shares = found["shares"]
    elsewhere = (
        f"; with {shares['share']} of a core for each {_rates(shares)}: {shares['ratio']} x"
        if shares
        else "; shares of a core were not tried: the kernel lets us make no control groups"
    )
    return (
        f"{size:>5} nodes {found['kind']}, saturated: {_rates(found)}: {found['ratio']} x (goal {GOAL}); with one process"
        f" these cores are busy: {busy}, so that {found['possible']} x is possible here{elsewhere}"
    )


def _rates(found: dict[str, Any]) -> str:
    return ", ".join(
        f"{count} process{'es' if count != '1' else ''} {rate}/s"
        for count, rate in found["per_second"].items()
    )
