"""A lock for one thread at a time that refuses to nest: what the embedded stores need instead of row locks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveAccess:
    """One lock for reads and transactions. Both block until the thread before is done, without a time limit.

    The lock is reentrant only so that a thread which calls the store from inside its own transaction gets an
    `AssertionError`; with a plain lock it would wait for itself for ever.
    """

    def __init__(self) -> None:
        """Unlocked."""
        self._lock = threading.RLock()
        self._in_transaction = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock for one read."""
        with self._lock:
            if self._in_transaction:
                msg = "inside a transaction, read through the transaction: the store does not show its writes yet"
                raise AssertionError(msg)
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the lock for one transaction."""
        with self.reading():
            self._in_transaction = True
            try:
                yield
            finally:
                self._in_transaction = False
