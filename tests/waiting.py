"""Waiting for what another process or thread does. One limit for all: it is reached only when something is broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Far beyond what anything here takes on a machine with ten busy processes beside it.
TIMEOUT_S: Final = 300.0
_AGAIN_S: Final = 0.01


def until(holds: Callable[[], bool], what: str = "it took too long") -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(_AGAIN_S)
