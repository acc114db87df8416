"""A file of JSON lines as an output partition that the flow's snapshots wait for.

A partition of a `FixedPartitionedSink` joins the snapshot stream, so that an epoch closes only after
its writes (reliability 1.1, LOSS 2). A line cut short by a crash is removed before the first write:
its item is written again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.engine.journey import Message


class JsonLinesPartition(StatefulSinkPartition[Message, None]):
    """Appends one line per message."""

    def __init__(self, path: Path, line: Callable[[Message], bytes]) -> None:
        """Open for appending, after the last whole line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        _cut_torn_line(path)
        self._line = line

    def write_batch(self, values: list[Message]) -> None:
        """Hand all lines to the operating system before returning."""
        self._file.write(b"".join(self._line(message) + b"\n" for message in values))
        self._file.flush()

    def snapshot(self) -> None:
        """On disk before the epoch closes."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End of the run."""
        self._file.close()


class JsonLinesSink(FixedPartitionedSink[Message, None]):
    """One file, one partition, whichever worker owns it."""

    def __init__(self, path: Path, line: Callable[[Message], bytes]) -> None:
        """`line` renders a message without its newline."""
        self._path = path
        self._line = line

    def list_parts(self) -> list[str]:
        """The file."""
        return [self._path.name]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> JsonLinesPartition:
        """Append where the file ends; at least once, so lines of an open epoch may repeat."""
        return JsonLinesPartition(self._path, self._line)


def _cut_torn_line(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb+") as file:
        end = size
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            file.truncate(end)
