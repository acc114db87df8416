"""One round: processes are killed as a seed says, faults come beside it, then the real runner ends it all."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Final

from chaos.auditor import Report, audited
from chaos.findings import Fault, Finding
from chaos.points import POINTS, RANDOM, Charge
from chaos.schedule import Deal, charges
from chaos.site import TIMEOUT_S, Site
from chaos.strategies import Market, Sent

# A life that does not come to its point in so long dies where it is, as one of the random instants, and its
# point is due again: while a server is unreachable, waiting for the point would be waiting for the server.
WAIT_S: Final = 25.0
# When no random instant is left to exchange: a point that takes this long is never reached.
LIFE_S: Final = 240.0
# It is fed again after so long, and then less and less often: a busy machine must not drown in what it has
# still to answer.
FEED_AFTER_S: Final = 2.0
FEED_FACTOR: Final = 1.5
FEED_PAUSE_MAX_S: Final = 8.0
# Before the next one after one that left because a server was away.
AWAY_PAUSE_S: Final = 0.3
AWAY_PAUSE_MAX_S: Final = 2.0
RANDOM_INSTANT_S: Final = (0.1, 2.5)
# A process comes to these only with something that is new to the graph.
NEWS: Final = frozenset(
    place
    for name in ("claim", "begin", "create", "verify", "log", "activate", "publish")
    for place in POINTS[name]
)
LOOK_S: Final = 0.05
KILLED: Final = -signal.SIGKILL
AWAY: Final = 4


@dataclass
class Tally:
    """Kills by place, what the processes that were not killed left with, and points that were not reached."""

    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[int] = field(default_factory=Counter)
    unreached: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def killed(self, point: str) -> None:
        """Count it."""
        with self.lock:
            self.kills[point] += 1

    def ended(self, code: int) -> None:
        """By itself."""
        with self.lock:
            self.endings[code] += 1

    def total(self) -> int:
        """Kills by now."""
        with self.lock:
            return self.kills.total()


@dataclass
class Campaign:
    """One site, one seed, so many kills."""

    site: Site
    seed: str
    kills: int
    tally: Tally = field(default_factory=Tally)

    def rage(self) -> None:
        """All kills, shared by the shares, which live beside each other."""
        deal = Deal(charges(self.seed, self.kills))
        failed: list[BaseException] = []

        def reign(share: int) -> None:
            try:
                self._reign(share, deal)
            except Exception as wrong:  # noqa: BLE001 - raised again by the thread that waits
                failed.append(wrong)

        shares = range(self.site.shares)
        threads = [threading.Thread(target=reign, args=(share,), daemon=True) for share in shares]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            deal.end()
        if failed:
            raise failed[0]

    def judged(self) -> Report:
        """The real runner ends what was begun; then all is compared."""
        ended = self.site.drain()
        report = audited(self.site.evidence(), self.site.reader())
        strange = {code: count for code, count in self.tally.endings.items() if code != AWAY}
        own = [Finding(Fault.PROCESS, f"the runner left with {code}") for code in ended if code]
        own += [Finding(Fault.PROCESS, f"{count} left with {code}") for code, count in strange.items()]
        own += [Finding(Fault.UNREACHED, point) for point in self.tally.unreached]
        return Report(report.counts, (*report.findings, *own))

    def _reign(self, share: int, deal: Deal) -> None:
        dice = random.Random(f"{self.seed}/{share}")
        market = Market(self.seed, self.site.worlds, self.site.partitions_of(share))
        while (charge := deal.next()) is not None:
            self.tally.killed(self._kill(Life(self, share, charge, market), deal, dice))

    def _kill(self, life: Life, deal: Deal, dice: random.Random) -> str:
        """Where one was killed in the end: a process that finds a server away leaves by itself."""
        pause_s = AWAY_PAUSE_S
        life.feed(dice.randint(1, 2))
        while True:
            life.begin()
            code = life.ended_within(WAIT_S if life.charge.point else dice.uniform(*RANDOM_INSTANT_S))
            if code is None and life.charge.point:
                if deal.exchange(life.charge):
                    life.charge = Charge()
                else:
                    code = life.ended_within(LIFE_S)
                    self.tally.unreached += [life.charge.point] if code is None else []
            if code == KILLED:
                return life.charge.name
            if code is None:
                code = life.killed()
                if code == KILLED:
                    return RANDOM
            self.tally.ended(code)
            time.sleep(dice.uniform(0.5, 1.0) * pause_s)
            pause_s = min(pause_s * 2, AWAY_PAUSE_MAX_S)


@dataclass
class Life:
    """One process of a share, and what it is given to do; begun again when a server was away."""

    campaign: Campaign
    share: int
    charge: Charge
    market: Market

    def feed(self, count: int) -> None:
        """So many records to read, beside what the last one left."""
        self._site.feed(self._work(count))

    def begin(self) -> None:
        """A new process."""
        self._process: ForkServerProcess = self._site.live(self.share, self.charge)
        self._pause_s = FEED_AFTER_S
        self._hungry_at = time.monotonic() + self._pause_s

    def ended_within(self, seconds: float) -> int | None:
        """How it ended, if it did in this time; it gets more to do every now and then."""
        deadline = time.monotonic() + seconds
        while True:
            code = self._site.await_end(
                self._process, max(min(deadline, self._hungry_at) - time.monotonic(), 0)
            )
            if code is not None or time.monotonic() >= deadline:
                return code
            if self._site.may_die(self.share):
                self._pause_s = min(self._pause_s * FEED_FACTOR, FEED_PAUSE_MAX_S)
                self.feed(1)
            else:  # a suspect is forgotten when something later is answered, which a refusal is at once
                self._pause_s = FEED_AFTER_S
                self._site.feed([self.market.bad()])
            self._hungry_at = time.monotonic() + self._pause_s

    def killed(self) -> int:
        """Its exit code; killed as soon as that is no record's third death, if it did not end before."""
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

    def _work(self, count: int) -> list[Sent]:
        """Something to do, and whatever brings it to its point."""
        point, market = self.charge.point, self.market
        if point in NEWS:
            return [*market.records(count - 1), market.news()]
        if point in POINTS["bury"]:
            return [*market.records(count - 1), market.bad()]
        return market.records(count)
