"""A steady rate of submissions, beside the bare hop and the floor, the least that any flow could do.

In every round the bare hop (the same records, producer → broker → consumer), each kind of submission and
its floor alternate. The floor (`relay`) is a process between two topics that parses and decides nothing,
answers as many bytes, and writes to the database what any flow must write for that kind.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from statistics import median
from typing import Any, Final

from benchmarks.live.site import HOP_TOPIC, ROOT, FlowProcess, Site, make_topic, processor_seconds
from benchmarks.live.spread import spread
from benchmarks.live.strategies import Keyed, Strategies
from benchmarks.live.traffic import Route
from servers.parent_death import die_with_parent

HOP: Final = "hop"
# What a relay writes before it answers; see `relay`.
WRITES: Final = {"unchanged": "nothing", "new_id": "holder", "changed": "content"}
GOALS: Final = {"unchanged": 1.6, "new_id": 2.5, "changed": 4.0}
CHANGING: Final = 50
WARM_TIMES: Final = 4
SMALL: Final = 100
Say = Callable[[str], None]


class Relay:
    """`benchmarks.live.relay` as a process, and the route through it."""

    def __init__(self, place: Site, kind: str, answer_bytes: int, members: int) -> None:
        servers, name = place.kafka.address, f"relay.{uuid.uuid4().hex}"
        into, out = f"{name}.in", f"{name}.out"
        for topic in (into, out):
            make_topic(servers, topic)
        given = [servers, place.neo4j.address, into, out, str(answer_bytes), WRITES[kind], str(members)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.live.relay", *given],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, and no thread runs yet
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            msg = "the relay did not start"
            raise RuntimeError(msg)
        self.route = Route(servers, into, out)

    def close(self) -> None:
        """Kill it: it has no state."""
        self.route.close()
        self._process.kill()
        self._process.wait()


class Steady:
    """The measurements of one size, each kind at its rate."""

    def __init__(self, place: Site, flow: FlowProcess, size: int, chosen: Namespace, seed: int) -> None:
        self._place, self._flow, self._chosen = place, flow, chosen
        servers = place.kafka.address
        topics = place.settings(flow.name)
        self._routes = {HOP: Route(servers, HOP_TOPIC, HOP_TOPIC)}
        self._through = Route(servers, topics["submissions_topic"], topics["diffs_topic"])
        self._strategies = Strategies(size, chosen.strategies, seed)
        # Separate strategies: a changed one has another version afterwards and is no longer `unchanged`.
        self._changing = Strategies(size, chosen.strategies, seed + CHANGING)
        unchanged = self._strategies.unchanged()
        self._streams: dict[str, Iterator[Keyed]] = {
            HOP: unchanged,
            "unchanged": unchanged,
            "new_id": self._strategies.new_id(),
            "changed": self._changing.changed(),
        }
        self._taken: dict[str, list[float]] = defaultdict(list)
        self._laps: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._core: dict[str, list[float]] = defaultdict(list)

    def measure(self, say: Say) -> dict[str, Any]:
        """Measure all kinds, alternating."""
        kinds = self._chosen.kinds
        with ExitStack() as stack:
            for route in (self._routes[HOP], self._through):
                stack.enter_context(closing(route))
            first = spread(self._through.one_by_one(self._strategies.first()))
            if "changed" in kinds:
                self._through.one_by_one([*self._changing.first(), *self._changing.library()])
            for kind in kinds:
                relay = Relay(self._place, kind, self._through.answer_bytes, self._strategies.size)
                stack.enter_context(closing(relay))
                self._routes |= {floor_of(kind): relay.route, kind: self._through}
            turns = [HOP, *(turn for kind in kinds for turn in (floor_of(kind), kind))]
            for turn in turns:
                say(f"  warming up: {turn}")
                self._warm_up(turn)
            for kept in (self._taken, self._laps, self._core):
                kept.clear()
            for number in range(self._chosen.rounds):
                for turn in turns:
                    self._part(turn, self._chosen.seconds)
                    say(f"  round {number + 1}, {turn}: {spread(self._taken[turn])}")
        return (
            {"first": first, "answer_bytes": self._through.answer_bytes}
            | {HOP: spread(self._taken[HOP])}
            | {kind: self._row(kind) for kind in kinds}
        )

    def _warm_up(self, turn: str) -> None:
        """Send small submissions faster than they are measured: servers compile what runs often."""
        times = WARM_TIMES if self._strategies.size <= SMALL else 1
        route, stream = self._routes[turn], self._streams[turn.removesuffix(_FLOOR)]
        route.steady(stream, times * self._rate(turn), self._chosen.warm)

    def _rate(self, turn: str) -> float:
        rate = self._chosen.changed_rate if turn.startswith("changed") else self._chosen.rate
        return float(rate)

    def _part(self, turn: str, seconds: float) -> None:
        kind, rate = turn.removesuffix(_FLOOR), self._rate(turn)
        before, spent = len(self._flow.laps()), processor_seconds(self._flow.pid)
        self._taken[turn] += self._routes[turn].steady(self._streams[kind], rate, seconds)
        self._core[turn].append((processor_seconds(self._flow.pid) - spent) / seconds)
        self._laps[turn] += self._flow.laps()[before:]

    def _row(self, kind: str) -> dict[str, Any]:
        ours, floor, laps = spread(self._taken[kind]), spread(self._taken[floor_of(kind)]), self._laps[kind]
        inside = {
            name.removesuffix("_ms"): spread([each[name] for each in laps])
            for name in ("own_ms", "graph_ms", "sink_ms")
        }
        return (
            ours
            | {"floor": floor, "ratio": ratios(ours, spread(self._taken[HOP]))}
            | {"floor_ratio": ratios(ours, floor), "core_percent": round(100 * median(self._core[kind]), 1)}
            | inside
        )


_FLOOR: Final = " floor"


def floor_of(kind: str) -> str:
    """The name of the floor of a kind."""
    return kind + _FLOOR


def ratios(ours: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """The ratios of two pairs of percentiles."""
    return {name.removesuffix("_ms"): round(ours[name] / others[name], 2) for name in ours}


def lines(size: str, found: dict[str, Any], kinds: list[str]) -> Iterator[str]:
    """As text."""
    hop = found[HOP]
    yield f"{size} nodes: bare hop p50 {hop['p50_ms']} ms, p95 {hop['p95_ms']} ms"
    yield (
        "             p50 ms  p95 ms   ratio p50 / p95 (goal)   floor p50   p95   x floor p50 / p95"
        "   own p50 / p95   graph p50   sink p50   core"
    )
    for kind in kinds:
        row = found[kind]
        ratio, floor, times, own = row["ratio"], row["floor"], row["floor_ratio"], row["own"]
        yield (
            f"  {kind:10}{row['p50_ms']:8.1f}{row['p95_ms']:8.1f}"
            f"{ratio['p50']:10.2f} / {ratio['p95']:.2f} ({GOALS[kind]})"
            f"{floor['p50_ms']:12.1f}{floor['p95_ms']:6.1f}{times['p50']:10.2f} / {times['p95']:.2f}"
            f"{own['p50_ms']:12.2f} / {own['p95_ms']:.2f}"
            f"{row['graph']['p50_ms']:10.1f}{row['sink']['p50_ms']:10.1f}{row['core_percent']:8.0f} %"
        )
