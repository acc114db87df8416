"""A file of JSON lines as an output partition that the flow's snapshots wait for.

A partition of a `FixedPartitionedSink` joins the snapshot stream, so that an epoch closes only after
its writes. A line cut short by a crash or a full disk is removed before the
next write: its item is written again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.disk import line_file
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.engine.wire.message import Message

# Calls again until the disk takes it; `UnavailableError` comes out only when the run is being stopped.
Patiently = Callable[[Callable[[], object]], object]


class JsonLinesPartition(StatefulSinkPartition[Message, None]):
    """Appends one line per message; a disk that is full is waited for."""

    def __init__(self, path: Path, line: Callable[[Message], bytes], patiently: Patiently) -> None:
        """Open for appending, after the last whole line."""
        self._path = path
        self._line = line
        self._patiently = patiently
        self._file = -1
        self._synced = 0
        self._failed = False
        patiently(self._open)

    def write_batch(self, values: list[Message]) -> None:
        """Hand all lines to the operating system before returning."""
        lines = b"".join(self._line(message) + b"\n" for message in values)
        self._patiently(lambda: self._append(lines))

    def snapshot(self) -> None:
        """On disk before the epoch closes."""
        self._patiently(self._sync)

    def close(self) -> None:
        """End of the run."""
        os.close(self._file)

    def _open(self) -> None:
        with translated_os_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = line_file.open_for_append(self._path)
            self._synced = os.fstat(self._file).st_size

    def _append(self, lines: bytes) -> None:
        with translated_os_errors(self._path):
            line_file.append_lines(self._file, lines, durable=False)

    def _sync(self) -> None:
        with translated_os_errors(self._path):
            if self._failed:
                line_file.rewrite_from(self._path, self._synced)
            self._failed = True
            line_file.sync(self._file)
            self._failed = False
            self._synced = os.fstat(self._file).st_size


class JsonLinesSink(FixedPartitionedSink[Message, None]):
    """One file, one partition, whichever worker owns it."""

    def __init__(self, path: Path, line: Callable[[Message], bytes], patiently: Patiently) -> None:
        """`line` renders a message without its newline; `patiently` waits for the disk."""
        self._path = path
        self._line = line
        self._patiently = patiently

    def list_parts(self) -> list[str]:
        """The file."""
        return [self._path.name]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> JsonLinesPartition:
        """Append where the file ends; at least once, so lines of an open epoch may repeat."""
        return JsonLinesPartition(self._path, self._line, self._patiently)
