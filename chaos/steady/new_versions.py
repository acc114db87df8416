"""`python -m chaos.steady.new_versions`: new versions under steady resends, and after a downtime; none may be refused.

Strategies under random ids send the current version of one lineage again, 50 a second, and one new version a second comes
(docs/semantics.md 2, Record order). Three processes divide the partitions on a real broker and database, beside two
busy loops. Then all of them are down while the records keep coming, and start again.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import orjson

from chaos.auditor import audit
from chaos.report import audit_text
from chaos.site import PARTITIONS, TIMEOUT_S, Site, wait
from chaos.strategies import InputRecord, Json, node, submitted
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from servers.folders import OwnedFolder
from servers.kafka import KafkaServer
from servers.neo4j import Neo4jServer
from servers.parent_death import die_with_parent
from servers.records import records

SHARES: Final = 3
RESENDS: Final = 50  # a second; one new version a second beside them
LINEAGE: Final = "busy"
PATIENCE_S: Final = 1_800.0
LOOK_S: Final = 10.0


@dataclass
class Traffic:
    """The records of one lineage, in order; every 51st is a new version."""

    world: str
    rng: random.Random
    sent: int = 0
    versions: list[str] = field(default_factory=list)
    dag: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The nodes that all versions share."""
        first = node(self.rng, [])
        self._shared = [first, node(self.rng, [first["node_id"]])]

    def record(self) -> InputRecord:
        """The next record, under a new strategy id."""
        if self.sent % (RESENDS + 1) == 0:
            self.versions.append(f"v{len(self.versions) + 1}")
            meta = {"strategy_name": LINEAGE, "version": self.versions[-1]}
            own = node(self.rng, [self._shared[-1]["node_id"]])
            self.dag = {"schema_version": "v1", "nodes": [*self._shared, own], "meta": meta}
        self.sent += 1
        strategy = f"r{self.rng.getrandbits(64):016x}"
        context = {"execution_domain": "live"}
        given = {"world_ids": [self.world], "dag": self.dag, "compute_context": context}
        return submitted(strategy, self.rng.randrange(PARTITIONS), given)


def feed(site: Site, traffic: Traffic, seconds: float) -> None:
    """Send at the rate for so many seconds; blocks as long."""
    began, first = time.monotonic(), traffic.sent
    while (passed := time.monotonic() - began) < seconds:
        while traffic.sent - first < passed * (RESENDS + 1):
            site.feed([traffic.record()])
        time.sleep(0.01)


def answers(site: Site) -> list[Json]:
    """One answer for each submission of the lineage."""
    values = (orjson.loads(each.value() or b"{}") for each in records(site.kafka, site.settings.diffs_topic))
    found = {each["submission_id"]: each for each in values if each["strategy_id"].startswith("r")}
    return list(found.values())


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that compute without end, beside the block."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", "while True: pass"],
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, and no thread runs yet
        )
        for _ in range(loops)
    ]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def run(site: Site, seconds: float, down: float, loops: int, seed: int) -> list[str]:
    """Feed, be down, continue, and wait for all answers; what is wrong, as sentences."""
    traffic, began = Traffic(site.worlds[0], random.Random(seed)), time.monotonic()
    with busy(loops):
        running = [site.run(share) for share in range(SHARES)]
        wait(lambda: site.has(site.settings.diffs_topic), "the flow did not start")
        feed(site, traffic, seconds)
        for process in running:
            process.terminate()
        for process in running:
            process.wait(TIMEOUT_S)
        before = len(traffic.versions)
        say(f"{traffic.sent} submissions, {before} of them new versions; now {down:g} s without a process")
        feed(site, traffic, down)
        running = [site.run(share) for share in range(SHARES)]
        feed(site, traffic, seconds / 2)
        site.flush()
        while (left := traffic.sent - len(answers(site))) > 0 and time.monotonic() < began + PATIENCE_S:
            say(f"{left} submissions wait for an answer")
            time.sleep(LOOK_S)
        for process in running:
            process.terminate()
        for process in running:
            process.wait(TIMEOUT_S)
    site.drain()
    return findings(site, traffic)


def findings(site: Site, traffic: Traffic) -> list[str]:
    """Print the counts; refusals, missing answers and an older version in force are wrong."""
    found = answers(site)
    refused = Counter(each["error"]["code"] for each in found if each["status"] == "rejected")
    new = {each["strategy_id"] for each in found if (each.get("actions") or {}).get("create")}
    warned = Counter(warning["code"] for each in found for warning in each.get("warnings") or ())
    in_force = [
        row.key.version
        for row in site.graph.rows()
        if isinstance(row, SentinelRow) and row.key.lineage == LINEAGE and row.state is SentinelState.ACTIVE
    ]
    say(f"sent {traffic.sent}, of them new versions {len(traffic.versions)} ({len(new)} created a queue)")
    say(f"answered {len(found)}, refused {sum(refused.values())} {dict(refused) or ''}")
    say(f"warnings {dict(warned) or 'none'}; in force {', '.join(in_force)} of {traffic.versions[-1]}")
    wrong = [f"{count} submissions were refused with {code}" for code, count in refused.items()]
    if len(found) != traffic.sent:
        wrong.append(f"{traffic.sent - len(found)} submissions have no answer")
    if in_force != traffic.versions[-1:]:
        wrong.append("another version than the newest is in force")
    return wrong


def say(line: str) -> None:
    """Print without buffering, also into a pipe."""
    print(line, flush=True)


def main() -> int:
    """Exit code 1 when a submission was refused, or the audit found anything."""
    parser = argparse.ArgumentParser(prog="python -m chaos.steady.new_versions", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0, help="before the downtime; half of it after")
    parser.add_argument("--down", type=float, default=30.0, help="seconds without a process")
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside it")
    given = parser.parse_args()
    with (
        OwnedFolder() as folder,
        KafkaServer(folder.path / "kafka") as kafka,
        Neo4jServer(folder.path / "neo4j") as neo4j,
    ):
        site = Site(f"n{given.seed}w", folder.path / "site", kafka.address, neo4j.address, SHARES)
        site.open()
        wrong = run(site, given.seconds, given.down, given.loops, given.seed)
        report = audit(site.evidence(), site.reader())
        say(audit_text(report.counts, report.findings))
        site.graph.close()
    for each in wrong:
        say(each)
    return 1 if wrong or report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
