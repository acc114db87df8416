"""`python -m chaos --seed S --kills N`: kill, break, audit; exit 1 when anything is found. `make chaos` runs it.

Rounds have a site of their own each; `--round R` runs round R of a seed alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from chaos.auditor import table
from chaos.campaign import Campaign, by_group
from chaos.faults import Faulty, Weather
from chaos.findings import Finding
from chaos.site import Site
from servers.folders import OwnedFolder
from servers.kafka import KafkaServer
from servers.neo4j import Neo4jServer, wipe
from servers.proxy import FaultProxy

KILLS_A_ROUND = 100


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


class Run:
    """Servers with proxies, and what the rounds found so far."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        """Starts nothing."""
        self.given = given
        self.folder = folder
        self.kafka_proxy, self.neo4j_proxy = FaultProxy(0), FaultProxy(0)
        self.kafka = KafkaServer(folder / "kafka", advertised_port=self.kafka_proxy.port)
        self.neo4j = Neo4jServer(folder / "neo4j")
        self.kafka_proxy.server_port, self.neo4j_proxy.server_port = self.kafka.port, self.neo4j.port
        self.kills: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.endings: Counter[int] = Counter()
        self.findings: list[Finding] = []

    def round(self, number: int, kills: int) -> None:
        """One site from its first record to its audit."""
        seed = f"{self.given.seed}/{number}"
        wipe(self.neo4j.address)
        name = f"k{self.given.seed}r{number}w"
        address = f"bolt://{self.neo4j_proxy.address}"
        site = Site(name, self.folder / name, self.kafka.address, address, self.given.shares)
        site.open()
        campaign = Campaign(site, seed, kills)
        places = (Faulty(self.kafka, self.kafka_proxy), Faulty(self.neo4j, self.neo4j_proxy))
        began = time.monotonic()
        with Weather(() if self.given.calm else places, seed) as weather:
            campaign.rage()
        raged = time.monotonic() - began
        report = campaign.judged()
        site.close()
        self.kills += campaign.tally.kills
        self.endings += campaign.tally.endings
        self.met += weather.met
        self.counts.update(report.counts)
        self.findings += report.findings
        took = time.monotonic() - began
        say(
            f"round {number}: {kills} kills in {raged:.0f} s, judged in {took - raged:.0f} s, "
            f"{report.counts['submissions answered']} answers, {len(report.findings)} findings"
        )
        for finding in report.findings[:20]:
            say(f"  {finding.fault.value}: {finding.where[:300]}")
        if report.findings:
            self._keep_log(site, number)

    def _keep_log(self, site: Site, number: int) -> None:
        kept = Path("build/chaos") / f"{self.given.seed}-{number}.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(site.log.read_bytes())
        say(
            f"  what the processes said: {kept}; again: python -m chaos --seed {self.given.seed} --round {number}"
        )

    def tell(self) -> None:
        """The table."""
        say(f"\nseed {self.given.seed}: {self.kills.total()} kills")
        for name, count, parts in by_group(self.kills):
            say(f"{count:8}  {name:16} {parts}")
        say(f"{self.met.total():8}  faults of servers and network: {dict(sorted(self.met.items()))}")
        say(
            f"{self.endings.total():8}  processes that left because a server was away or failed: {dict(self.endings)}"
        )
        say(table(self.counts, self.findings))


def main() -> int:
    """Exit status 1 when the auditor found anything."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="printed, and replays")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no round after so long")
    parser.add_argument("--round", type=int, help="this round of the seed alone")
    parser.add_argument("--shares", type=int, default=4, help="flow processes beside each other")
    parser.add_argument("--calm", action="store_true", help="kill processes, leave servers and network alone")
    given = parser.parse_args()
    say(f"seed {given.seed}")
    until = time.monotonic() + given.minutes * 60
    rounds = -(-given.kills // KILLS_A_ROUND)
    numbers = range(rounds) if given.round is None else [given.round]
    with OwnedFolder() as folder:
        run = Run(folder.path, given)
        with run.kafka_proxy, run.neo4j_proxy, run.kafka, run.neo4j:
            for number in numbers:
                if time.monotonic() < until:
                    run.round(number, min(KILLS_A_ROUND, given.kills - KILLS_A_ROUND * number))
        run.tell()
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
