"""A file of JSON lines as an output partition that the flow's snapshots wait for.

A partition of a `FixedPartitionedSink` takes part in snapshots, so that an epoch closes only after its writes. At least
once: lines of an epoch that was open at a crash are written again. A line that a crash or a full disk cut off is removed
before the next write.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.disk import line_file
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.engine.wire.message import Message

# Calls again while a disk or broker raises `UnavailableError`; raises it itself only when the run is stopped meanwhile.
Retry = Callable[[Callable[[], object]], object]


class JsonLinesPartition(StatefulSinkPartition[Message, None]):
    """Appends one line per message. Its methods block while the disk is full, and raise `UnavailableError` only when the
    run is stopped then; `SettingsError` when the file cannot be used."""

    def __init__(self, path: Path, line: Callable[[Message], bytes], retry: Retry) -> None:
        """Open the file for appending after its last whole line; create it and its folder if they do not exist."""
        self._path = path
        self._line = line
        self._retry = retry
        self._file = -1
        self._synced = 0
        self._failed = False
        retry(self._open)

    def write_batch(self, values: list[Message]) -> None:
        """Write all lines to the operating system before returning; the disk has them only after `snapshot`."""
        lines = b"".join(self._line(message) + b"\n" for message in values)
        self._retry(lambda: self._append(lines))

    def snapshot(self) -> None:
        """Flush to disk before the epoch closes."""
        self._retry(self._sync)

    def close(self) -> None:
        """Close the file."""
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
            # A second fsync alone would report success with nothing on disk (`rewrite_from`).
            if self._failed:
                line_file.rewrite_from(self._path, self._synced)
            self._failed = True
            line_file.sync(self._file)
            self._failed = False
            self._synced = os.fstat(self._file).st_size


class JsonLinesSink(FixedPartitionedSink[Message, None]):
    """One file is one partition; Bytewax chooses the worker that owns it."""

    def __init__(self, path: Path, line: Callable[[Message], bytes], retry: Retry) -> None:
        """`line` gives the line of a message, without its newline. Nothing is opened yet."""
        self._path = path
        self._line = line
        self._retry = retry

    def list_parts(self) -> list[str]:
        """The name of the file."""
        return [self._path.name]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> JsonLinesPartition:
        """Open the file; no state to resume: lines of an open epoch may repeat. Blocks and raises as the partition."""
        return JsonLinesPartition(self._path, self._line, self._retry)
