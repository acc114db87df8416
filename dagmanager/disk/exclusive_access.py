"""Whose turn it is: the embedded graphs let one thread in at a time, and a transaction never nests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveAccess:
    """One lock for reads and transactions.

    The lock is reentrant so that a thread that asks again from inside its own transaction is told so
    (`AssertionError`) instead of waiting for itself for ever.
    """

    def __init__(self) -> None:
        """Free."""
        self._lock = threading.RLock()
        self._working = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Alone for one read."""
        with self._lock:
            if self._working:
                msg = "inside a transaction ask the transaction: the store itself knows no half of it"
                raise AssertionError(msg)
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Alone for one transaction."""
        with self.reading():
            self._working = True
            try:
                yield
            finally:
                self._working = False
