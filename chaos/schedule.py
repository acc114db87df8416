"""The kills of a round, planned from a seed. Pure, except for the lock of the queue."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from chaos.points import POINTS, PlannedKill

KILLS_A_ROUND: Final = 100
# Kills at random instants in each turn, beside one kill in each group of points.
RANDOM_IN_TURN: Final = 4


def rounds(kills: int) -> list[int]:
    """The number of kills of each round."""
    return [min(KILLS_A_ROUND, kills - start) for start in range(0, kills, KILLS_A_ROUND)]


def planned_kills(seed: str, kills: int) -> list[PlannedKill]:
    """In each turn one kill in each group of points, in random order, and some at random instants."""
    rng = random.Random(f"{seed}/charges")
    planned: list[PlannedKill] = []
    while len(planned) < kills:
        turn = rng.sample(sorted(POINTS.values()), len(POINTS))
        planned += [PlannedKill(rng.choice(places), rng.choice((1, 1, 1, 2))) for places in turn]
        planned += [PlannedKill() for _ in range(RANDOM_IN_TURN)]
    return planned[:kills]


class KillQueue:
    """Gives out each planned kill once. Safe between threads."""

    def __init__(self, planned: Iterable[PlannedKill]) -> None:
        """The kills are given out in this order."""
        self._planned = deque(planned)
        self._lock = threading.Lock()

    def next(self) -> PlannedKill | None:
        """The next kill, None when there is none."""
        with self._lock:
            return self._planned.popleft() if self._planned else None

    def swap_for_random(self, kill_plan: PlannedKill) -> bool:
        """Take a kill at a random instant and put `kill_plan` back at the end; False when there is none to take."""
        with self._lock:
            if PlannedKill() not in self._planned:
                return False
            self._planned.remove(PlannedKill())
            self._planned.append(kill_plan)
            return True

    def clear(self) -> None:
        """Drop the rest."""
        with self._lock:
            self._planned.clear()
