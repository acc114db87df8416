"""Sinks of control events without a broker: in memory, or a file that others can follow (`tail -f`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dagmanager.engine.model.rows import OutboxRow
from dagmanager.topics.json_line_file import JsonLines


class MemoryEvents:
    """`EventSink` in memory: `published` holds every event in order, repeats included. Safe between threads."""

    def __init__(self) -> None:
        """Empty."""
        self.published: list[OutboxRow] = []
        self._lock = threading.Lock()

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Append all at once; neither blocks nor fails."""
        with self._lock:
            self.published.extend(events)


class NoEvents:
    """`EventSink` that discards events: control events are turned off."""

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Discard all."""


class EventLine(msgspec.Struct, frozen=True):
    """One line of the file: the channel and key that a broker would use, and the event itself."""

    channel: str
    key: str
    value: msgspec.Raw


class FileEvents:
    """`EventSink` in a file: one JSON line per event."""

    def __init__(self, path: Path) -> None:
        """The file is created with the first event."""
        self._lines = JsonLines(path)

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Append all in order, durable when this returns; raises as `JsonLines.append`."""
        self._lines.append(
            [EventLine(row.channel, row.message_key, msgspec.Raw(row.value)) for row in events]
        )
