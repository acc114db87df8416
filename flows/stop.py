"""A stop flag that a signal handler may set, and that every thread can read or wait for."""

from __future__ import annotations

import threading


class Stop:
    """Like `threading.Event`, but safe to set in a signal handler.

    `Event.set` takes a lock that `Event.wait` holds when it begins and when it ends. A signal that arrives there is
    handled by the thread that holds the lock, which then waits for itself for ever.
    """

    def __init__(self) -> None:
        """Not set."""
        self._set = False
        self._latch = threading.Lock()
        self._latch.acquire()

    def set(self) -> None:
        """Set the flag; from the main thread or a signal handler in it. Idempotent."""
        if not self._set:
            self._set = True
            self._latch.release()

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Block until the flag is set, at most so many seconds; whether it is set."""
        if self._latch.acquire(timeout=seconds):
            self._latch.release()
        return self._set
