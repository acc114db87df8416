"""The record of topic creations and deletions without a broker: a list, or a file."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from dagmanager.engine.ports import AdminEntry
from dagmanager.topics.json_lines import JsonLines


class MemoryAdminLog:
    """`entries` holds everything appended, in order."""

    def __init__(self) -> None:
        """Nothing done yet."""
        self.entries: list[AdminEntry] = []
        self._lock = threading.Lock()

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Remember all of them, together."""
        with self._lock:
            self.entries.extend(entries)


class FileAdminLog:
    """One JSON line per entry, with the fields of `AdminEntry`; durable before `append` returns."""

    def __init__(self, path: Path) -> None:
        """`path` is created at the first entry."""
        self._lines = JsonLines(path)

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Append all in order; raises as `JsonLines.append`."""
        self._lines.append(entries)
