"""The admin log without a broker: in memory or in a file. It records each creation and deletion of a topic."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.topics.json_line_file import JsonLines


class MemoryAdminLog:
    """`AdminLog` in memory: `entries` holds everything appended, in order. Safe between threads."""

    def __init__(self) -> None:
        """Empty."""
        self.entries: list[AdminEntry] = []
        self._lock = threading.Lock()

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Append all at once; neither blocks nor fails."""
        with self._lock:
            self.entries.extend(entries)


class FileAdminLog:
    """`AdminLog` in a file: one JSON line per entry, with the fields of `AdminEntry`."""

    def __init__(self, path: Path) -> None:
        """The file is created with the first entry."""
        self._lines = JsonLines(path)

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Append all in order, durable when this returns; raises as `JsonLines.append`."""
        self._lines.append(entries)


class InvalidLine(NamedTuple):
    """A line that is not an entry; lines count from 1.

    `is_torn`: the write was cut off by a crash. The creation it was for never became active, so it may be ignored.
    """

    line: int
    reason: str
    is_torn: bool


def parse_entries(lines: Iterable[bytes]) -> Iterator[AdminEntry | InvalidLine]:
    """The lines of an admin log in order, empty ones left out; invalid ones come as `InvalidLine`."""
    decoder = msgspec.json.Decoder(AdminEntry)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except msgspec.ValidationError as error:
            yield InvalidLine(number, str(error), is_torn=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # A line that begins like an entry but is not complete JSON was cut off; anything else was never an entry.
            yield InvalidLine(number, str(error), is_torn=line.lstrip().startswith(b"{"))
