"""`python -m chaos.steady.endurance --minutes 30 --rate 2`: a steady rate with restarts; memory must stay flat, lag bounded.

All processes but the last run to the end and are measured; the last is stopped in order and killed, alternately.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from chaos.auditor import audit
from chaos.report import audit_text
from chaos.site import PARTITIONS, TIMEOUT_S, Site, wait
from chaos.strategies import SubmissionGenerator
from dagmanager.dag.model import Origin, Record, Submission
from servers.folders import OwnedFolder
from servers.kafka import KafkaServer
from servers.neo4j import Neo4jServer

SHARES: Final = 3
SAMPLE_S: Final = 5.0
RESTART_S: Final = 60.0
# Caches fill during the first part of the time; after it, memory may grow by this share, and lag last this long.
WARM: Final = 0.4
GROWTH_MAX: Final = 0.15
LAG_SECONDS_MAX: Final = 60.0
MIB: Final = 1024 * 1024
PAGE: Final = 4096


class Sample(NamedTuple):
    """One sample; `memory_bytes` of each process that is not restarted, `lag` in submissions."""

    at_s: float
    memory_bytes: tuple[int, ...]
    lag: int


def say(line: str) -> None:
    """Print without buffering, also into a pipe."""
    print(line, flush=True)


class Answered:
    """Counts distinct submissions on the diffs topic."""

    def __init__(self, site: Site) -> None:
        """Reads from the first record on; the topic must exist."""
        self._seen: set[tuple[str, str]] = set()
        self._consumer = Consumer({"bootstrap.servers": site.kafka, "group.id": "endurance", "log_level": 0})
        topic = site.settings.diffs_topic
        found = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in found])

    def count(self) -> int:
        """The number so far; blocks for a moment."""
        while messages := self._consumer.consume(1_000, 0.05):
            for message in messages:
                answer = orjson.loads(message.value() or b"{}")
                if answer.get("submission_id"):
                    self._seen.add((answer["submission_id"], answer["world_id"]))
        return len(self._seen)

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


@dataclass
class Endurance:
    """One site at a steady rate."""

    site: Site
    rate: float
    seconds: float
    fed: int = 0
    restarts: int = 0
    kills: int = 0
    endings: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def run(self, seed: str) -> None:
        """Run for `seconds`; all processes have ended when this returns."""
        site = self.site
        generator = SubmissionGenerator(seed, site.worlds, tuple(range(PARTITIONS)))
        reader = site.reader()
        running = [site.run(share) for share in range(SHARES)]
        wait(lambda: site.has(site.settings.diffs_topic), "the flow did not start")
        answered = Answered(site)
        began = sampled = restarted = time.monotonic()
        position = 0
        while (now := time.monotonic()) < began + self.seconds:
            while position < (now - began) * self.rate:
                (sent,) = generator.records(1)
                site.feed([sent])
                record = Record(sent.value or b"", Origin("count", position=position), sent.key, 1)
                self.fed += sum(isinstance(each, Submission) for each in reader.read(record))
                position += 1
            if now - restarted > RESTART_S:
                restarted = now
                self._restart(running)
            if now - sampled > SAMPLE_S:
                sampled = now
                lag = self.fed + 1 - answered.count()
                memory = tuple(memory_of(process) for process in running[:-1])
                self.samples.append(Sample(now - began, memory, lag))
            time.sleep(0.05)
        for process in running:
            process.terminate()
        self.endings = [process.wait(TIMEOUT_S) for process in running]
        answered.close()

    def _restart(self, running: list[subprocess.Popen[bytes]]) -> None:
        process = running[-1]
        by_force = self.restarts % 2 == 1
        process.kill() if by_force else process.terminate()
        process.wait(TIMEOUT_S)
        running[-1] = self.site.run(SHARES - 1)
        self.restarts += 1
        self.kills += by_force
        if self.samples:
            at_s, memory, lag = self.samples[-1]
            shown = ", ".join(f"{each / MIB:.1f}" for each in memory)
            say(
                f"{at_s / 60:4.1f} min: {self.fed} fed, lag {lag}, memory {shown} MiB, {self.restarts} restarts"
            )

    def findings(self) -> list[str]:
        """What grew or took too long, as sentences."""
        warm = [each for each in self.samples if each.at_s > WARM * self.seconds]
        third = max(len(warm) // 3, 1)
        wrong = []
        for share in range(SHARES - 1):
            before = median(each.memory_bytes[share] for each in warm[:third])
            after = median(each.memory_bytes[share] for each in warm[-third:])
            growth = after / before - 1
            say(f"process {share}: {before / MIB:.1f} MiB in the first third, {after / MIB:.1f} in the last")
            if growth > GROWTH_MAX:
                wrong.append(f"memory of process {share} grew by {growth:.0%}")
        lags = sorted(each.lag for each in warm)
        say(
            f"lag {median(lags):.0f} submissions in the median, {lags[-1]} at most, {warm[-1].lag} in the end"
        )
        say(f"{self.fed} submissions fed; {self.restarts} restarts, {self.kills} of them by SIGKILL")
        if lags[-1] > self.rate * LAG_SECONDS_MAX:
            wrong.append(f"lag of {lags[-1]} submissions at {self.rate} records a second")
        wrong += [f"a process exited with {code}" for code in self.endings if code]
        return wrong


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE


def main() -> int:
    """Exit code 1 when memory or lag grew, or the audit found anything."""
    parser = argparse.ArgumentParser(prog="python -m chaos.steady.endurance", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2.0, help="records a second")
    given = parser.parse_args()
    with (
        OwnedFolder() as folder,
        KafkaServer(folder.path / "kafka") as kafka,
        Neo4jServer(folder.path / "neo4j") as neo4j,
    ):
        site = Site(f"e{given.seed}w", folder.path / "site", kafka.address, neo4j.address, SHARES)
        site.open()
        endurance = Endurance(site, given.rate, given.minutes * 60)
        endurance.run(str(given.seed))
        wrong = endurance.findings()
        site.drain()
        report = audit(site.evidence(), site.reader())
        say(audit_text(report.counts, report.findings))
        site.graph.close()
    for each in wrong:
        say(each)
    return 1 if wrong or report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
