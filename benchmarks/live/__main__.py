"""How long a submission takes on a real broker and database, as a ratio to the bare hop in the same run.

    python -m benchmarks.live [--json] [--parts steady,new,saturation,crowd] [--seconds S] [--rounds N]

50 submissions a second from a producer through the flow to a consumer, counted from when each was due.
In every round the bare hop (the same records, producer → broker → consumer) and each kind of submission
take turns. `unchanged`: the same bytes from the same strategy; `new_id`: the same DAGs under ids never
seen, as the Gateway sends them; `changed`: one node in a hundred is another one, which runs elsewhere.
`own` is the flow's own part, consumed → handed to the sink, without time in the database.

`new`: 10, 100 and 1,000 new nodes beside the bare calls that these need; `saturation`: how fast a backlog is
answered by one process and by two; `crowd`: all of it again among a million nodes and 10,000 topics.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.live import crowd, new_nodes, saturation
from benchmarks.live.site import HOP_TOPIC, FlowProcess, Site, make_topic, processor_seconds, site
from benchmarks.live.spread import spread
from benchmarks.live.strategies import Keyed, Strategies
from benchmarks.live.traffic import Route

CHANGING: Final = 50
NEW: Final = (10, 100, 1_000)
CROWD_NODES: Final = 1_000_000
CROWD_TOPICS: Final = 10_000
KINDS: Final = ("unchanged", "new_id", "changed")
GOALS: Final = {"unchanged": 1.6, "new_id": 2.5, "changed": 4.0}
WARM_S: Final = 5.0


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def ratios(ours: dict[str, float], hop: dict[str, float]) -> dict[str, float]:
    """How many bare hops."""
    return {name.removesuffix("_ms"): round(ours[name] / hop[name], 2) for name in ours}


class Steady:
    """Everything at 50 submissions a second, for one size."""

    def __init__(
        self, place: Site, flow: FlowProcess, size: int, chosen: argparse.Namespace, seed: int
    ) -> None:
        self._flow, self._chosen = flow, chosen
        servers = place.kafka.address
        topics = place.settings(flow.name)
        self._hop = Route(servers, HOP_TOPIC, HOP_TOPIC)
        self._through = Route(servers, topics["submissions_topic"], topics["diffs_topic"])
        self._strategies = Strategies(size, chosen.strategies, seed)
        # Of their own: whoever changes holds another version afterwards, and is unchanged no more.
        self._changing = Strategies(size, chosen.strategies, seed + CHANGING)
        self._streams: dict[str, Iterator[Keyed]] = {
            "unchanged": self._strategies.unchanged(),
            "new_id": self._strategies.new_id(),
            "changed": self._changing.changed(),
        }
        self._taken: dict[str, list[float]] = defaultdict(list)
        self._laps: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._core: dict[str, list[float]] = defaultdict(list)

    def measure(self) -> dict[str, Any]:
        """All kinds, in turns."""
        with closing(self._hop), closing(self._through):
            found: dict[str, Any] = {"first": spread(self._through.one_by_one(self._strategies.first()))}
            if "changed" in self._chosen.kinds:
                self._through.one_by_one([*self._changing.first(), *self._changing.library()])
            for kind in ("hop", *self._chosen.kinds):
                say(f"  warming up: {kind}")
                self._part(kind, WARM_S)
            for kept in (self._taken, self._laps, self._core):
                kept.clear()
            for number in range(self._chosen.rounds):
                for kind in ("hop", *self._chosen.kinds):
                    self._part(kind, self._chosen.seconds)
                    say(f"  round {number + 1}, {kind}: {spread(self._taken[kind])}")
        return (
            found
            | {"hop": spread(self._taken["hop"])}
            | {kind: self._row(kind) for kind in self._chosen.kinds}
        )

    def _part(self, kind: str, seconds: float) -> None:
        route = self._hop if kind == "hop" else self._through
        stream = self._streams["unchanged" if kind == "hop" else kind]
        before, spent = len(self._flow.laps()), processor_seconds(self._flow.pid)
        self._taken[kind] += route.steady(stream, self._chosen.rate, seconds)
        self._core[kind].append((processor_seconds(self._flow.pid) - spent) / seconds)
        self._laps[kind] += self._flow.laps()[before:]

    def _row(self, kind: str) -> dict[str, Any]:
        ours, laps = spread(self._taken[kind]), self._laps[kind]
        inside = {
            name.removesuffix("_ms"): spread([each[name] for each in laps])
            for name in ("own_ms", "graph_ms", "sink_ms")
        }
        core = round(100 * median(self._core[kind]), 1)
        return ours | {"ratio": ratios(ours, spread(self._taken["hop"])), "core_percent": core} | inside


def table(found: dict[str, Any]) -> str:
    """For people."""
    lines: list[str] = []
    for size, each in found.get("steady", {}).items():
        hop = each["hop"]
        lines.append(
            f"{size} nodes, {found['rate']:g} a second: bare hop p50 {hop['p50_ms']} ms, p95 {hop['p95_ms']} ms"
        )
        lines.append(
            "             p50 ms  p95 ms   ratio p50 / p95 (goal)   own p50 / p95   graph p50   sink p50   core"
        )
        for kind in found["kinds"]:
            row = each[kind]
            ratio, own = row["ratio"], row["own"]
            lines.append(
                f"  {kind:10}{row['p50_ms']:8.1f}{row['p95_ms']:8.1f}"
                f"{ratio['p50']:10.2f} / {ratio['p95']:.2f} ({GOALS[kind]})"
                f"{own['p50_ms']:12.2f} / {own['p95_ms']:.2f}"
                f"{row['graph']['p50_ms']:10.1f}{row['sink']['p50_ms']:10.1f}{row['core_percent']:8.0f} %"
            )
    for part, told in (("new", new_nodes.line), ("saturation", saturation.line)):
        lines += [told(size, each) for size, each in found.get(part, {}).items()]
    if "crowded" in found:
        lines += ["among a million nodes and 10,000 topics:", table(found["crowded"])]
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rate", type=float, default=50.0, help="submissions a second")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each kind, in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--strategies", type=int, default=4)
    parser.add_argument(
        "--sizes", type=lambda text: [int(each) for each in text.split(",")], default=[100, 1_000]
    )
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["steady", "new", "saturation"])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    return parser.parse_args()


def measured(place: Site, chosen: argparse.Namespace, seed: int = 0) -> dict[str, Any]:
    """The parts asked for, on these servers as they are."""
    found: dict[str, Any] = {"rate": chosen.rate, "kinds": chosen.kinds}
    with FlowProcess(place, f"steady{seed or ''}") as flow:
        if "steady" in chosen.parts:
            found["steady"] = {}
            for size in chosen.sizes:
                say(f"{size} nodes")
                found["steady"][str(size)] = Steady(place, flow, size, chosen, seed).measure()
        if "new" in chosen.parts:
            found["new"] = {}
            # Topics stay: a broker needs a file for each, and this one may have opened 20,000.
            for count in NEW[: 2 if seed else 3]:
                say(f"{count} new nodes")
                found["new"][str(count)] = new_nodes.measure(
                    place, flow.name, count, chosen.rounds, 1_000 + 100 * seed
                )
    if "saturation" in chosen.parts:
        say("saturation")
        found["saturation"] = {str(size): saturation.measure(place, size, seed) for size in chosen.sizes[:1]}
    return found


def main() -> None:
    """Print the figures, for people or as JSON."""
    chosen = parsed()
    with tempfile.TemporaryDirectory(prefix="dagmanager-bench-") as folder, site(Path(folder)) as place:
        make_topic(place.kafka.address, HOP_TOPIC)
        found = measured(place, chosen)
        if "crowd" in chosen.parts:
            say(f"{CROWD_NODES} nodes and {CROWD_TOPICS} topics of others")
            crowd.nodes(place, CROWD_NODES)
            crowd.topics(place, CROWD_TOPICS)
            found["crowded"] = measured(place, chosen, seed=1)
    print(json.dumps(found) if chosen.json else table(found))


if __name__ == "__main__":
    main()
