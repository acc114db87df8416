"""Back-off with jitter: how long to pause between the tries of a call that failed for a reason that passes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow from `first_s` by `factor` (1 or more) up to `longest_s`, all in seconds.

    `jitter` (0-1) is the share of each pause that is drawn at random: 0 for pauses of exact length, 1 for anything
    between no pause and a full one. Use jitter where several processes may fail at the same moment: without it,
    they all return at the same moment, too, and overload the server again.

    The value does not sleep and does not count tries: callers do, each with its own limit.
    """

    first_s: float
    factor: float
    longest_s: float
    jitter: float

    def __post_init__(self) -> None:
        """`ValueError` for numbers that are out of range."""
        if not (0 < self.first_s <= self.longest_s and self.factor >= 1 and 0 <= self.jitter <= 1):
            msg = f"{self} is out of range: 0 < first_s <= longest_s, factor >= 1, 0 <= jitter <= 1"
            raise ValueError(msg)

    def pauses(self, draw: Callable[[], float] = random.random) -> Iterator[float]:
        """The seconds to pause after the first failure, the second, and so on, without end.

        `draw` gives a number in [0, 1) for each pause.
        """
        full_s = self.first_s
        while True:
            yield full_s * (1 - self.jitter * draw())
            full_s = min(full_s * self.factor, self.longest_s)
