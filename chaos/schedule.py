"""What the lives of a round die of, planned from a seed. Pure but for the lock of who deals it out."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from chaos.points import POINTS, Charge

KILLS_A_ROUND: Final = 100
# Beside one kill at each named point, in each turn.
RANDOM_IN_TURN: Final = 4


def rounds(kills: int) -> list[int]:
    """How many kills each round has."""
    return [min(KILLS_A_ROUND, kills - start) for start in range(0, kills, KILLS_A_ROUND)]


def charges(seed: str, kills: int) -> list[Charge]:
    """Turn by turn each group of points once, and some random instants."""
    dice = random.Random(f"{seed}/charges")
    planned: list[Charge] = []
    while len(planned) < kills:
        turn = dice.sample(sorted(POINTS.values()), len(POINTS))
        planned += [Charge(dice.choice(places), dice.choice((1, 1, 1, 2))) for places in turn]
        planned += [Charge() for _ in range(RANDOM_IN_TURN)]
    return planned[:kills]


class Deal:
    """Deals each charge once; safe between threads."""

    def __init__(self, planned: Iterable[Charge]) -> None:
        """In this order."""
        self._due = deque(planned)
        self._lock = threading.Lock()

    def next(self) -> Charge | None:
        """The next one; None when all are dealt."""
        with self._lock:
            return self._due.popleft() if self._due else None

    def exchange(self, charge: Charge) -> bool:
        """Take a random instant that is due, and give `charge` back for later; False when none is due."""
        with self._lock:
            if Charge() not in self._due:
                return False
            self._due.remove(Charge())
            self._due.append(charge)
            return True

    def end(self) -> None:
        """No more."""
        with self._lock:
            self._due.clear()
