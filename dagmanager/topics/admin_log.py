"""The record of topic creations and deletions without a broker: a list, or a file."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dagmanager.engine.model.event_ports import AdminEntry
from dagmanager.engine.wire.topic_history import ACTIONS
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


class InvalidLine(NamedTuple):
    """A line that holds no entry; `is_torn` when its writer died within it, so that it never counted."""

    line: int
    reason: str
    is_torn: bool


def parse_entries(lines: Iterable[bytes]) -> Iterator[AdminEntry | InvalidLine]:
    """Each line of a log in its order, empty ones left out; lines count from 1."""
    decoder = msgspec.json.Decoder(AdminEntry)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = decoder.decode(line)
            known = entry.action in ACTIONS
            yield entry if known else InvalidLine(number, f"unknown action {entry.action!r}", is_torn=False)
        except msgspec.ValidationError as error:
            yield InvalidLine(number, str(error), is_torn=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield InvalidLine(number, str(error), is_torn=line.lstrip().startswith(b"{"))
