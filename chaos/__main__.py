"""`python -m chaos --seed S --kills N`: kill, inject faults, audit; exit 1 when anything is found. `make chaos` runs it.

Each round has its own site and writes its report to build/chaos when it ends: `--resume` continues after the finished
rounds. `--round R` runs only round R of a seed. `--brokers 3` is the same on three brokers, with other faults of Kafka.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from chaos.campaign import Campaign
from chaos.faults import FaultInjector
from chaos.report import REPORTS, Round, RoundStore, Summary
from chaos.schedule import rounds
from chaos.site import Site
from chaos.small_disk import run_with_mounts
from chaos.trial_servers import TrialServers
from servers.folders import OwnedFolder

SHOWN = 20


def say(line: str) -> None:
    """Print to standard error without buffering; standard output is for the report, which may be JSON."""
    print(line, file=sys.stderr, flush=True)


def run_round(servers: TrialServers, given: argparse.Namespace, number: int, plan: str) -> Round:
    """Run one site from its first record to its audit; blocks for minutes."""
    seed = f"{given.seed}/{number}"
    site = servers.site(f"k{given.seed}r{number}w", given.shares)
    log = REPORTS / str(given.seed) / f"{number}.log"
    campaign = Campaign(site, seed, kills_of(given)[number])
    began = time.monotonic()
    try:
        site.open()
        with FaultInjector(
            () if given.calm else servers.fault_targets(seed), seed, campaign.counts.total
        ) as injector:
            campaign.run_kills()
        killed_at = time.monotonic()
        report = campaign.audit_site()
    except Exception:
        keep_log(site, log)
        raise
    done = Round(
        number=number,
        plan=plan,
        kills=dict(campaign.counts.kills),
        injected=dict(injector.injected),
        endings=dict(campaign.counts.endings),
        counts=dict(report.counts),
        findings=report.findings,
        killing_s=round(killed_at - began, 1),
        audit_s=round(time.monotonic() - killed_at, 1),
    )
    site.close()
    tell(done, site, log)
    return done


def tell(done: Round, site: Site, log: Path) -> None:
    """Print one line, and the findings with the log of the processes."""
    say(
        f"round {done.number}: {sum(done.kills.values())} kills in {done.killing_s:.0f} s, audited in "
        f"{done.audit_s:.0f} s, {done.counts['submissions answered']} answers, {len(done.findings)} findings"
    )
    for finding in done.findings[:SHOWN]:
        say(f"  {finding.violation.value}: {finding.where[:300]}")
    if done.findings:
        keep_log(site, log)
        say(f"  to repeat: --round {done.number}")


def keep_log(site: Site, log: Path) -> None:
    """Keep the log: the site's folder is removed when the campaign ends."""
    if site.log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(site.log.read_bytes())
        say(f"  log of the processes: {log}")


def kills_of(given: argparse.Namespace) -> dict[int, int]:
    """The number of kills of each requested round."""
    planned = dict(enumerate(rounds(given.kills)))
    return planned if given.round is None else {given.round: planned.get(given.round, rounds(given.kills)[0])}


def run_all(given: argparse.Namespace, store: RoundStore) -> list[Round]:
    """The finished rounds: stored ones and those run now, as many as there was time for."""
    brokers = f", {given.brokers} brokers" if given.brokers > 1 else ""
    plans = {
        number: f"{kills} kills, {given.shares} shares, {'calm' if given.calm else 'faults'}{brokers}"
        for number, kills in kills_of(given).items()
    }
    if not given.resume and given.round is None:
        store.delete()
    done = store.rounds(plans) if given.resume else []
    for each in done:
        say(f"round {each.number}: done before, {len(each.findings)} findings")
    due = sorted(plans.keys() - {each.number for each in done})
    try:
        for each in run_due(given, {number: plans[number] for number in due}):
            store.save(each)
            done.append(each)
    except KeyboardInterrupt:
        say("interrupted within a round")
    if len(done) < len(plans):
        say(f"{len(done)} of {len(plans)} rounds are done; to continue: --seed {given.seed} --resume")
    return done


def run_due(given: argparse.Namespace, plans: Mapping[int, str]) -> Iterator[Round]:
    """Run rounds one after the other on the same servers, while there is time."""
    until = time.monotonic() + given.minutes * 60
    if not plans:
        return
    with OwnedFolder() as folder, TrialServers(folder.path, given.brokers) as servers:
        for number, plan in plans.items():
            if time.monotonic() < until:
                yield run_round(servers, given, number, plan)


def main() -> int:
    """Exit code 1 when the auditor found anything, or not all rounds were run."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "--seed",
        type=int,
        default=int(time.time()) % 100_000,
        help="repeats the same plan (default: random, printed)",
    )
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="start no round after this time")
    parser.add_argument("--round", type=int, help="only this round of the seed")
    parser.add_argument("--resume", action="store_true", help="continue after the rounds in build/chaos")
    parser.add_argument("--shares", type=int, default=4, help="number of flow processes")
    parser.add_argument(
        "--calm", action="store_true", help="kill processes only, no faults of servers and network"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    given = parser.parse_args()
    if given.brokers > 1 and not given.calm and (why := run_with_mounts("chaos", sys.argv[1:])):
        say(f"no small disk can be mounted here, so that no disk is filled: {why}")
    say(f"seed {given.seed}")
    done = run_all(given, RoundStore(REPORTS, given.seed))
    summary = Summary(given.seed, done)
    if given.json:
        print(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        print(summary.text())
    return 1 if summary.findings or len(done) < len(kills_of(given)) else 0


if __name__ == "__main__":
    sys.exit(main())
