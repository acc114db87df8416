"""One round: processes are killed as planned from a seed, then the real runner finishes and the auditor compares."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Final

from chaos.auditor import AuditReport, audit
from chaos.findings import AuditFinding, Violation
from chaos.points import POINTS, RANDOM, PlannedKill
from chaos.schedule import KillQueue, planned_kills
from chaos.site import TIMEOUT_S, Site
from chaos.strategies import InputRecord, SubmissionGenerator
from dagmanager.backoff import Backoff

# A victim that does not reach its point in this time is killed where it is, in place of one of the planned random
# instants, and its point is planned again: while a server is down, no victim reaches its point.
WAIT_S: Final = 25.0
# The limit when no random instant is left to swap: a point that takes longer is not reachable.
LIFE_S: Final = 240.0
# A victim gets another record after this time, and then more and more rarely: on a busy machine the backlog must not
# grow.
FEED_AFTER_S: Final = 2.0
FEED_FACTOR: Final = 1.5
FEED_PAUSE_MAX_S: Final = 8.0
# The pause before the next victim, after one that exited because a server was unreachable.
UNAVAILABLE: Final = Backoff(first_s=0.3, factor=2, longest_s=2.0, jitter=0.5)
RANDOM_INSTANT_S: Final = (0.1, 2.5)
# A process reaches these points only with a node that is new to the graph.
NEEDS_NEW_NODE: Final = frozenset(
    place
    for name in ("claim", "begin", "create", "verify", "log", "activate", "publish")
    for place in POINTS[name]
)
LOOK_S: Final = 0.05
KILLED: Final = -signal.SIGKILL
EXIT_UNAVAILABLE: Final = 4


@dataclass
class KillCounts:
    """Kills by point, exit codes of processes that were not killed, and points that were not reached. Thread-safe."""

    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[int] = field(default_factory=Counter)
    unreached: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def killed(self, point: str) -> None:
        """Count a kill at `point`."""
        with self.lock:
            self.kills[point] += 1

    def ended(self, code: int) -> None:
        """Count a process that exited by itself."""
        with self.lock:
            self.endings[code] += 1

    def total(self) -> int:
        """The kills so far."""
        with self.lock:
            return self.kills.total()


@dataclass
class Campaign:
    """One site, one seed, and a number of kills."""

    site: Site
    seed: str
    kills: int
    counts: KillCounts = field(default_factory=KillCounts)

    def run_kills(self) -> None:
        """Do all planned kills; the shares run side by side. Blocks for minutes; raises the first error of a share."""
        queue = KillQueue(planned_kills(self.seed, self.kills))
        failed: list[BaseException] = []

        def run_share(share: int) -> None:
            try:
                self._run_share(share, queue)
            except Exception as wrong:  # noqa: BLE001 - raised again by the thread that waits
                failed.append(wrong)

        shares = range(self.site.shares)
        threads = [threading.Thread(target=run_share, args=(share,), daemon=True) for share in shares]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            queue.clear()
        if failed:
            raise failed[0]

    def audit_site(self) -> AuditReport:
        """Let the real runner finish everything, then audit."""
        ended = self.site.drain()
        report = audit(self.site.evidence(), self.site.reader())
        strange = {code: count for code, count in self.counts.endings.items() if code != EXIT_UNAVAILABLE}
        own = [AuditFinding(Violation.PROCESS, f"the runner exited with {code}") for code in ended if code]
        own += [
            AuditFinding(Violation.PROCESS, f"{count} exited with {code}") for code, count in strange.items()
        ]
        own += [AuditFinding(Violation.UNREACHED, point) for point in self.counts.unreached]
        return AuditReport(report.counts, (*report.findings, *own))

    def _run_share(self, share: int, queue: KillQueue) -> None:
        rng = random.Random(f"{self.seed}/{share}")
        generator = SubmissionGenerator(self.seed, self.site.worlds, self.site.partitions_of(share))
        while (kill_plan := queue.next()) is not None:
            self.counts.killed(self._kill(VictimProcess(self, share, kill_plan, generator), queue, rng))

    def _kill(self, victim: VictimProcess, queue: KillQueue, rng: random.Random) -> str:
        """Start processes until one is killed, and return where: one that finds a server unreachable exits by itself."""
        pauses = UNAVAILABLE.pauses(rng.random)
        victim.feed(rng.randint(1, 2))
        while True:
            victim.begin()
            code = victim.ended_within(WAIT_S if victim.kill_plan.point else rng.uniform(*RANDOM_INSTANT_S))
            if code is None and victim.kill_plan.point:
                if queue.swap_for_random(victim.kill_plan):
                    victim.kill_plan = PlannedKill()
                else:
                    code = victim.ended_within(LIFE_S)
                    self.counts.unreached += [victim.kill_plan.point] if code is None else []
            if code == KILLED:
                return victim.kill_plan.name
            if code is None:
                code = victim.killed()
                if code == KILLED:
                    return RANDOM
            self.counts.ended(code)
            time.sleep(next(pauses))


@dataclass
class VictimProcess:
    """One process of a share and its input; started again when a server was unreachable."""

    campaign: Campaign
    share: int
    kill_plan: PlannedKill
    generator: SubmissionGenerator

    def feed(self, count: int) -> None:
        """Write this many records for it, beside what the previous process left unread."""
        self._site.feed(self._work(count))

    def begin(self) -> None:
        """Start a new process."""
        self._process: ForkServerProcess = self._site.start_victim(self.share, self.kill_plan)
        self._pause_s = FEED_AFTER_S
        self._feed_at = time.monotonic() + self._pause_s

    def ended_within(self, seconds: float) -> int | None:
        """The exit code if it ended in this time; meanwhile it gets more records from time to time."""
        deadline = time.monotonic() + seconds
        while True:
            code = self._site.await_end(
                self._process, max(min(deadline, self._feed_at) - time.monotonic(), 0)
            )
            if code is not None or time.monotonic() >= deadline:
                return code
            if self._site.may_die(self.share):
                self._pause_s = min(self._pause_s * FEED_FACTOR, FEED_PAUSE_MAX_S)
                self.feed(1)
            else:  # a poison candidate is cleared when a later record is answered: an invalid one is, at once
                self._pause_s = FEED_AFTER_S
                self._site.feed([self.generator.invalid()])
            self._feed_at = time.monotonic() + self._pause_s

    def killed(self) -> int:
        """Kill it as soon as that is not the third death over one record, unless it ends before; its exit code."""
        deadline = time.monotonic() + LIFE_S
        while not self._site.may_die(self.share) and time.monotonic() < deadline:
            code = self.ended_within(LOOK_S)
            if code is not None:
                return code
        self._process.kill()
        code = self._site.await_end(self._process, TIMEOUT_S)
        return 0 if code is None else code

    @property
    def _site(self) -> Site:
        return self.campaign.site

    def _work(self, count: int) -> list[InputRecord]:
        """Records to read, one of which makes it reach its point."""
        point, generator = self.kill_plan.point, self.generator
        if point in NEEDS_NEW_NODE:
            return [*generator.records(count - 1), generator.new_node()]
        if point in POINTS["bury"]:
            return [*generator.records(count - 1), generator.invalid()]
        return generator.records(count)
