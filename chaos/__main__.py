"""`python -m chaos --seed S --kills N`: kill, break, audit; exit 1 when anything is found. `make chaos` runs it.

Rounds have a site of their own each, and each leaves its report in build/chaos as it ends: `--resume` goes on
after them. `--round R` runs round R of a seed alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from chaos.campaign import Campaign
from chaos.faults import Faulty, Weather
from chaos.report import KEPT_IN, Kept, Round, Summary
from chaos.schedule import rounds
from chaos.site import Site
from servers.folders import OwnedFolder
from servers.kafka import KafkaServer
from servers.neo4j import Neo4jServer, wipe
from servers.proxy import FaultProxy

SHOWN = 20
# After each restart the database plans every statement again, which takes it most of its time then: once is enough.
PLANS = {"dbms.cypher.min_replan_interval": "1h", "dbms.cypher.statistics_divergence_threshold": "1.0"}


def say(line: str) -> None:
    """At once, also into a pipe; beside the report, which may be for a machine."""
    print(line, file=sys.stderr, flush=True)


class Servers:
    """A broker and a database, each behind a proxy."""

    def __init__(self, folder: Path) -> None:
        """Starts nothing."""
        self.folder = folder
        self.kafka_proxy, self.neo4j_proxy = FaultProxy(0), FaultProxy(0)
        self.kafka = KafkaServer(folder / "kafka", advertised_port=self.kafka_proxy.port)
        self.neo4j = Neo4jServer(folder / "neo4j", settings=PLANS)
        self.kafka_proxy.server_port, self.neo4j_proxy.server_port = self.kafka.port, self.neo4j.port

    def site(self, name: str, shares: int) -> Site:
        """An empty database, and a folder and topics of its own."""
        wipe(self.neo4j.address)
        address = f"bolt://{self.neo4j_proxy.address}"
        return Site(name, self.folder / name, self.kafka.address, address, shares)

    def places(self) -> tuple[Faulty, Faulty]:
        """Where faults happen."""
        return Faulty(self.kafka, self.kafka_proxy), Faulty(self.neo4j, self.neo4j_proxy)


def run_round(servers: Servers, given: argparse.Namespace, number: int, plan: str) -> Round:
    """One site from its first record to its audit; blocks for minutes."""
    seed = f"{given.seed}/{number}"
    site = servers.site(f"k{given.seed}r{number}w", given.shares)
    log = KEPT_IN / str(given.seed) / f"{number}.log"
    campaign = Campaign(site, seed, kills_of(given)[number])
    began = time.monotonic()
    try:
        site.open()
        with Weather(() if given.calm else servers.places(), seed, campaign.tally.total) as weather:
            campaign.rage()
        raged = time.monotonic()
        report = campaign.judged()
    except Exception:
        keep_log(site, log)
        raise
    done = Round(
        number=number,
        plan=plan,
        kills=dict(campaign.tally.kills),
        met=dict(weather.met),
        endings=dict(campaign.tally.endings),
        counts=dict(report.counts),
        findings=report.findings,
        raged_s=round(raged - began, 1),
        judged_s=round(time.monotonic() - raged, 1),
    )
    site.close()
    tell(done, site, log)
    return done


def tell(done: Round, site: Site, log: Path) -> None:
    """A line, and what was found, with what the processes said."""
    say(
        f"round {done.number}: {sum(done.kills.values())} kills in {done.raged_s:.0f} s, judged in "
        f"{done.judged_s:.0f} s, {done.counts['submissions answered']} answers, {len(done.findings)} findings"
    )
    for finding in done.findings[:SHOWN]:
        say(f"  {finding.fault.value}: {finding.where[:300]}")
    if done.findings:
        keep_log(site, log)
        say(f"  again with --round {done.number}")


def keep_log(site: Site, log: Path) -> None:
    """The site's folder goes when the campaign ends."""
    if site.log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(site.log.read_bytes())
        say(f"  what the processes said: {log}")


def kills_of(given: argparse.Namespace) -> dict[int, int]:
    """Of each round that is asked for."""
    planned = dict(enumerate(rounds(given.kills)))
    return planned if given.round is None else {given.round: planned.get(given.round, rounds(given.kills)[0])}


def run_all(given: argparse.Namespace, kept: Kept) -> list[Round]:
    """Those that were kept and those that are run now; as many as there was time for."""
    plans = {
        number: f"{kills} kills, {given.shares} shares, {'calm' if given.calm else 'faults'}"
        for number, kills in kills_of(given).items()
    }
    if not given.resume and given.round is None:
        kept.forget()
    done = kept.rounds(plans) if given.resume else []
    for each in done:
        say(f"round {each.number}: done before, {len(each.findings)} findings")
    due = sorted(plans.keys() - {each.number for each in done})
    try:
        for each in run_due(given, {number: plans[number] for number in due}):
            kept.keep(each)
            done.append(each)
    except KeyboardInterrupt:
        say("stopped in the middle of a round")
    if len(done) < len(plans):
        say(f"{len(done)} of {len(plans)} rounds are done: --seed {given.seed} --resume goes on")
    return done


def run_due(given: argparse.Namespace, plans: Mapping[int, str]) -> Iterator[Round]:
    """One after the other on the same servers, while there is time."""
    until = time.monotonic() + given.minutes * 60
    if not plans:
        return
    with OwnedFolder() as folder:
        servers = Servers(folder.path)
        with servers.kafka_proxy, servers.neo4j_proxy, servers.kafka, servers.neo4j:
            for number, plan in plans.items():
                if time.monotonic() < until:
                    yield run_round(servers, given, number, plan)


def main() -> int:
    """Exit status 1 when the auditor found anything, or not all rounds were run."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="printed, and replays")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no round after so long")
    parser.add_argument("--round", type=int, help="this round of the seed alone")
    parser.add_argument("--resume", action="store_true", help="go on after the rounds in build/chaos")
    parser.add_argument("--shares", type=int, default=4, help="flow processes beside each other")
    parser.add_argument("--calm", action="store_true", help="kill processes, leave servers and network alone")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    given = parser.parse_args()
    say(f"seed {given.seed}")
    done = run_all(given, Kept(KEPT_IN, given.seed))
    summary = Summary(given.seed, done)
    if given.json:
        print(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        print(summary.text())
    return 1 if summary.findings or len(done) < len(kills_of(given)) else 0


if __name__ == "__main__":
    sys.exit(main())
