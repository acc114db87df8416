"""The wish that a run ends, told by a signal and heard by every thread."""

from __future__ import annotations

import threading


class Stop:
    """What `threading.Event` is, for whoever sets it in a signal handler.

    The set() of an event takes the lock that its wait() holds at its beginning and its end. A signal that arrives just
    there is handled by the thread that holds the lock, and that thread then waits for itself for ever.
    """

    def __init__(self) -> None:
        """Nobody has told us to stop."""
        self._set = False
        self._latch = threading.Lock()
        self._latch.acquire()

    def set(self) -> None:
        """Tell it, from the main thread or a signal handler in it. Once is as good as twice."""
        if not self._set:
            self._set = True
            self._latch.release()

    def is_set(self) -> bool:
        """Whether somebody told it."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Return when it was told, at the latest after so many seconds; whether it was."""
        if self._latch.acquire(timeout=seconds):
            self._latch.release()
        return self._set
