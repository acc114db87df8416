"""Where control events go without a broker: a list, or a file that others can follow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dagmanager.engine.model.rows import OutboxRow
from dagmanager.topics.json_lines import JsonLines


class MemoryEvents:
    """`published` holds every event in the order of delivery, repeats included."""

    def __init__(self) -> None:
        """Nothing published."""
        self.published: list[OutboxRow] = []
        self._lock = threading.Lock()

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Remember all of them, together."""
        with self._lock:
            self.published.extend(events)


class NoEvents:
    """Control events are turned off: what would be told is let go."""

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Nothing."""


class EventLine(msgspec.Struct, frozen=True):
    """One line of the file: where a broker would put the event, and the envelope itself."""

    channel: str
    key: str
    value: msgspec.Raw


class FileEvents:
    """One JSON line per event, durable before `publish` returns."""

    def __init__(self, path: Path) -> None:
        """`path` is created at the first event."""
        self._lines = JsonLines(path)

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Append all in order; raises as `JsonLines.append`."""
        self._lines.append(
            [EventLine(row.channel, row.message_key, msgspec.Raw(row.value)) for row in events]
        )
