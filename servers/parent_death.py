"""Child processes that end with their parent, even when it is killed with SIGKILL."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> Callable[[], object]:
    """For `preexec_fn` (Linux): the kernel kills the child when this process ends."""
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
