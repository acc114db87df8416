"""Faults of broker, database and network while the flow works; each ends by itself."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from servers.process import Server
from servers.proxy import Direction, FaultProxy

# Between two faults there are this many kills and at least this many seconds: a server that is slow to recover (a Neo4j
# just started needs ten seconds for its first queries) must not be down all the time.
KILLS_BETWEEN: Final = 7
PAUSE_S: Final = (1.0, 4.0)
LASTS_S: Final = (1.0, 6.0)
LOOK_S: Final = 0.1
DELAY_S: Final = 0.15
CUTS: Final = 5


class FaultSource(Protocol):
    """Servers that faults can be injected into."""

    def faults(self) -> Mapping[str, Callable[[float], None]]:
        """The faults by name; each lasts for the given seconds or longer, and then is undone."""


@dataclass(frozen=True)
class FaultTarget:
    """A server and the proxy in front of it."""

    server: Server
    proxy: FaultProxy

    def faults(self) -> Mapping[str, Callable[[float], None]]:
        """The faults by name; each lasts for the given seconds and then is undone."""
        kind = self.server.kind
        return {
            f"{kind} killed": self._killed,
            f"{kind} restarted": lambda _: _nothing(self.server.restart()),
            f"{kind} paused": self._paused,
            f"{kind}: its answers cut off": lambda s: self._network(s, Direction.TO_CLIENT),
            f"{kind}: requests to it cut off": lambda s: self._network(s, Direction.TO_SERVER),
            f"{kind}: cut both ways": lambda s: self._network(s, *Direction),
            f"{kind}: connections reset": self._reset,
            f"{kind}: refused": self._refused,
            f"{kind}: network delayed": self._delayed,
        }

    def _killed(self, seconds: float) -> None:
        self.server.kill()
        time.sleep(seconds)
        self.server.start()

    def _paused(self, seconds: float) -> None:
        self.server.pause()
        try:
            time.sleep(seconds)
        finally:
            self.server.resume()

    def _network(self, seconds: float, *directions: Direction) -> None:
        self._while(lambda: self.proxy.stall(*directions), seconds)

    def _refused(self, seconds: float) -> None:
        self._while(self.proxy.refuse, seconds)

    def _delayed(self, seconds: float) -> None:
        self._while(lambda: self.proxy.delay(DELAY_S), seconds)

    def _reset(self, seconds: float) -> None:
        for _ in range(CUTS):
            self.proxy.cut()
            time.sleep(seconds / CUTS)

    def _while(self, begin: Callable[[], None], seconds: float) -> None:
        begin()
        try:
            time.sleep(seconds)
        finally:
            self.proxy.forward()


@dataclass
class FaultInjector:
    """Injects one fault after the other in the background, in an order from a seed; no kind twice before all had a turn.

    `kills` returns the number of kills so far.
    """

    targets: tuple[FaultSource, ...]
    seed: str
    kills: Callable[[], int]
    injected: Counter[str] = field(default_factory=Counter)
    failed: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> FaultInjector:
        """Start injecting."""
        self._thread = threading.Thread(target=self._inject_faults, name="injector", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the current fault to end; no fault remains."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self.failed:
            raise self.failed[0]

    def _inject_faults(self) -> None:
        rng = random.Random(f"{self.seed}/weather")
        kinds = {name: fault for place in self.targets for name, fault in place.faults().items()}
        due: list[str] = []
        while kinds and not self._over.wait(rng.uniform(*PAUSE_S)) and self._enough_kills():
            due = due or rng.sample(sorted(kinds), len(kinds))
            name = due.pop()
            try:
                kinds[name](rng.uniform(*LASTS_S))
            except Exception as failed:  # noqa: BLE001 - raised again by __exit__
                self.failed.append(failed)
                return
            self.injected[name] += 1

    def _enough_kills(self) -> bool:
        """Wait for enough kills; False when the injector ends before."""
        while self.kills() < KILLS_BETWEEN * self.injected.total():
            if self._over.wait(LOOK_S):
                return False
        return True


def _nothing(_: object) -> None:
    return None
