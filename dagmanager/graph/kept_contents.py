"""Contents that were read from a server before: written once under their digest, they never change."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from dagmanager.engine.rows import ContentRow

KEPT_MEMBERS: Final = 100_000


class KeptContents:
    """Bounded by members over all contents; the oldest goes first. Safe between threads.

    One that another process removed may still be found here: whoever asks for a content knows it from a
    version, and a content stays as long as a version is of it.
    """

    def __init__(self, members_max: int = KEPT_MEMBERS) -> None:
        """Empty."""
        self._members_max = members_max
        self._members = 0
        self._kept: dict[str, ContentRow] = {}
        self._lock = threading.Lock()

    def of(self, digests: Iterable[str]) -> dict[str, ContentRow]:
        """Those of these that are kept."""
        with self._lock:
            return {each: self._kept[each] for each in digests if each in self._kept}

    def keep(self, rows: Iterable[ContentRow]) -> None:
        """Keep what was read."""
        with self._lock:
            for row in rows:
                if row.digest not in self._kept:
                    self._kept[row.digest] = row
                    self._members += len(row.members)
            while self._members > self._members_max:
                self._members -= len(self._kept.pop(next(iter(self._kept))).members)

    def forget(self, digest: str) -> None:
        """It is about to be removed."""
        with self._lock:
            gone = self._kept.pop(digest, None)
            self._members -= len(gone.members) if gone is not None else 0
