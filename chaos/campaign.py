"""One round: processes are killed as a seed says, faults come beside it, then the real runner ends it all."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Final

from chaos.auditor import Report, audited
from chaos.findings import Fault, Finding
from chaos.points import POINTS, RANDOM, Charge
from chaos.site import PATIENCE_S, Site
from chaos.strategies import Market, Sent

# How long a life may take to reach its point before it ends at a random instant. It is fed again after so
# long, and then less and less often: a busy machine must not drown in what it has still to answer.
LIFE_S: Final = 180.0
FEED_AFTER_S: Final = 3.0
FEED_FACTOR: Final = 1.5
RANDOM_INSTANT_S: Final = (0.1, 2.5)
# A record in whose handling a process died three times would be set aside: the third life gets on first.
IN_A_ROW: Final = 2
KILLED: Final = -signal.SIGKILL
AWAY: Final = 4
RANDOM_OF_TEN: Final = 2


@dataclass
class Tally:
    """Kills by place, and what the processes that were not killed left with."""

    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def killed(self, point: str) -> None:
        """Count it."""
        with self.lock:
            self.kills[point] += 1

    def ended(self, code: int) -> None:
        """By itself."""
        with self.lock:
            self.endings[code] += 1


def charges(seed: str, kills: int) -> list[Charge]:
    """What the lives of a round die of: each group of points equally often, and random instants."""
    dice = random.Random(f"{seed}/charges")
    planned: list[Charge] = []
    while len(planned) < kills:
        for places in dice.sample(sorted(POINTS.values()), len(POINTS)):
            planned += [Charge(dice.choice(places), dice.choice((1, 1, 1, 2)))]
        planned += [Charge() for _ in range(RANDOM_OF_TEN)]
    return planned[:kills]


@dataclass
class Campaign:
    """One site, one seed, so many kills."""

    site: Site
    seed: str
    kills: int
    tally: Tally = field(default_factory=Tally)

    def rage(self) -> None:
        """All kills, shared by the shares, which live beside each other."""
        planned = deque(charges(self.seed, self.kills))
        failed: list[BaseException] = []

        def reign(share: int) -> None:
            try:
                self._reign(share, planned)
            except Exception as wrong:  # noqa: BLE001 - raised again by the thread that waits
                failed.append(wrong)

        threads = [threading.Thread(target=reign, args=(share,)) for share in range(self.site.shares)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def judged(self) -> Report:
        """The real runner ends what was begun; then all is compared."""
        ended = self.site.drain()
        report = audited(self.site.evidence(), self.site.reader())
        strange = {code: count for code, count in self.tally.endings.items() if code != AWAY}
        own = [Finding(Fault.PROCESS, f"the runner left with {code}") for code in ended if code]
        own += [Finding(Fault.PROCESS, f"{count} left with {code}") for code, count in strange.items()]
        return Report(report.counts, (*report.findings, *own))

    def _reign(self, share: int, planned: deque[Charge]) -> None:
        partitions = self.site.partitions_of(share)
        dice = random.Random(f"{self.seed}/{share}")
        market = Market(self.seed, self.site.worlds, partitions)
        in_a_row = 0
        while True:
            try:
                charge = planned.popleft()
            except IndexError:
                return
            if in_a_row == IN_A_ROW:
                charge = Charge(charge.point, charge.nth, after_snapshots=1)
            in_a_row = 0 if in_a_row == IN_A_ROW else in_a_row + 1
            self._kill(share, charge, market, dice)

    def _kill(self, share: int, charge: Charge, market: Market, dice: random.Random) -> None:
        """Lives until one of them is killed: one that finds a server away leaves by itself."""
        while True:
            self.site.feed(_work(market, charge, dice.randint(1, 2)))
            process = self.site.live(share, charge)
            instant = dice.uniform(*RANDOM_INSTANT_S) if not charge.point else LIFE_S
            code = self._await(process, charge, instant, market)
            by_us = code is None
            if code is None:
                process.kill()
                code = self.site.await_end(process, PATIENCE_S)
            if code == KILLED:
                self.tally.killed(RANDOM if by_us else charge.point)
                return
            self.tally.ended(code or 0)
            time.sleep(dice.uniform(0.1, 0.5))

    def _await(
        self, process: ForkServerProcess, charge: Charge, seconds: float, market: Market
    ) -> int | None:
        """How it ended, if it did in this time; it gets more to do every now and then."""
        deadline, pause_s = time.monotonic() + seconds, FEED_AFTER_S
        while (left := deadline - time.monotonic()) > 0:
            code = self.site.await_end(process, min(left, pause_s))
            if code is not None:
                return code
            pause_s *= FEED_FACTOR
            self.site.feed(_work(market, charge, 1))
        return None


def _work(market: Market, charge: Charge, count: int) -> list[Sent]:
    """Something to do; who is to die over a dead letter gets one to write."""
    bad = [market.bad()] if charge.point in POINTS["bury"] else []
    return [*market.records(count), *bad]


def by_group(kills: Counter[str]) -> Iterable[tuple[str, int, str]]:
    """Kills at each named point, with the places that belong to it."""
    for name, places in POINTS.items():
        parts = ", ".join(f"{place} {kills[place]}" for place in places)
        yield name, sum(kills[place] for place in places), parts
    yield RANDOM, kills[RANDOM], ""
