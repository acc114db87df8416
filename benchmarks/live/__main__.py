"""How long a submission takes on a real broker and database, as a ratio to the bare hop in the same run.

    python -m benchmarks.live [--json] [--parts steady,new,saturation,crowd] [--seconds S] [--rounds N]

50 submissions a second from a producer through the flow to a consumer, each measured from when it was due.
In every round the bare hop (the same records, producer → broker → consumer), each kind of submission and
its floor (see `steady`) take turns. `unchanged`: the same bytes from the same strategy; `new_id`: the same
DAGs under new strategy ids, as the Gateway sends them; `changed`: one node in a hundred is replaced by another
existing node.
`own` is the flow's own part, from the consumer to the sink, without the time in the database.

`new`: 10, 100 and 1,000 new nodes beside the bare calls that these need; `saturation`: how fast a backlog is
answered by one process and by two; `crowd`: everything again beside a million nodes and 10,000 topics.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.live import crowd, new_nodes, saturation, steady
from benchmarks.live.site import HOP_TOPIC, FlowProcess, Site, make_topic, site

NEW: Final = (10, 100, 1_000)
CROWD_NODES: Final = 1_000_000
CROWD_TOPICS: Final = 10_000
KINDS: Final = ("unchanged", "new_id", "changed")


def say(text: str) -> None:
    """Print progress to standard error; the result goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def table(found: dict[str, Any]) -> str:
    """As text."""
    lines: list[str] = []
    for size, each in found.get("steady", {}).items():
        lines += steady.lines(size, each, found["kinds"])
    for part, line in (("new", new_nodes.line), ("saturation", saturation.line)):
        lines += [line(size, each) for size, each in found.get(part, {}).items()]
    if "crowded" in found:
        lines += ["among a million nodes and 10,000 topics:", table(found["crowded"])]
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rate", type=float, default=50.0, help="submissions a second")
    parser.add_argument(
        "--changed-rate",
        type=float,
        default=5.0,
        help="submissions a second of `changed`: even its floor does not reach 50",
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of each kind, in each round")
    parser.add_argument("--warm", type=float, default=20.0, help="seconds of each kind that do not count")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--strategies", type=int, default=4)
    parser.add_argument(
        "--sizes", type=lambda text: [int(each) for each in text.split(",")], default=[100, 1_000]
    )
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["steady", "new", "saturation"])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    return parser.parse_args()


def measured(place: Site, chosen: argparse.Namespace, parts: set[str], seed: int = 0) -> dict[str, Any]:
    """Measure these parts on these servers. A `seed` means that there is a crowd, which leaves room for small DAGs only."""
    found: dict[str, Any] = {}
    with FlowProcess(place, f"steady{seed or ''}") as flow:
        if "steady" in parts:
            found["steady"] = {}
            for size in chosen.sizes[: 1 if seed else None]:
                say(f"{size} nodes")
                found["steady"][str(size)] = steady.Steady(place, flow, size, chosen, seed).measure(say)
        if "new" in parts:
            found["new"] = {}
            say("new nodes, warming up")
            new_nodes.warm_up(place, flow.name, 2 * chosen.warm, 500_000 + 100_000 * seed)
            for count in NEW[: 2 if seed else 3]:
                say(f"{count} new nodes")
                found["new"][str(count)] = new_nodes.measure(
                    place, flow.name, count, chosen.rounds, 1_000 + 100 * seed
                )
                say(f"  {new_nodes.line(str(count), found['new'][str(count)])}")
    if "saturation" in parts:
        say("saturation")
        found["saturation"] = {str(size): saturation.measure(place, size, seed) for size in chosen.sizes[:1]}
    return found


@contextmanager
def servers() -> Iterator[Site]:
    """New servers, with the topic of the bare hop."""
    with tempfile.TemporaryDirectory(prefix="dagmanager-bench-") as folder, site(Path(folder)) as place:
        make_topic(place.kafka.address, HOP_TOPIC)
        yield place


def main() -> None:
    """Print the results as text or JSON."""
    chosen = parsed()
    found: dict[str, Any] = {"rate": chosen.rate, "kinds": chosen.kinds}
    asked = set(chosen.parts)
    # With its own servers: topics stay, and a broker may be limited to files for 20,000 partitions.
    for parts in ({"steady"}, {"new"}, {"saturation"}):
        if parts & asked:
            with servers() as place:
                found |= measured(place, chosen, parts)
    if "crowd" in asked:
        with servers() as place:
            say(f"{CROWD_NODES} nodes and {CROWD_TOPICS} topics of others")
            crowd.topics(place, CROWD_TOPICS)
            crowd.nodes(place, CROWD_NODES, live=CROWD_TOPICS)
            say("  they are there")
            found["crowded"] = {"kinds": chosen.kinds} | measured(place, chosen, asked, seed=1)
    print(json.dumps(found) if chosen.json else table(found))


if __name__ == "__main__":
    main()
