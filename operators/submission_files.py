"""Submissions from files: one line or one `.json` file each; the source of the embedded default.

The record time is when the run began to read, plus the position: it lies in the snapshot, so that a
replay sees the same times (decisions 1, Order).
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dagmanager.dag.model import Origin, Record
from dagmanager.dag.wrap import strategy_key, wrapped

BATCH_LINES: Final = 64
STATE_VERSION: Final = 1
POLL: Final = timedelta(milliseconds=20)
Keyed = tuple[str, Record]


class SubmissionFile(StatefulSourcePartition[Keyed, dict[str, Any]]):
    """One file, read line by line; a `.json` file is one record."""

    def __init__(
        self, path: str, state: dict[str, Any] | None, stopping: Callable[[], bool], now_ms: int
    ) -> None:
        """Go on after the last line of the snapshot."""
        good = state is not None and state.get("v") == STATE_VERSION
        state = state if good and state is not None else {"line": 0, "offset": 0, "base_ms": now_ms}
        self._line, self._offset, self._base_ms = state["line"], state["offset"], state["base_ms"]
        self._path = path
        self._whole = path.endswith(".json")
        self._live = path == "-"
        self._file: BinaryIO = sys.stdin.buffer if self._live else Path(path).open("rb")  # noqa: SIM115 - closed in close()
        self._stopping = stopping
        if not self._live:
            self._file.seek(self._offset)

    def next_batch(self) -> Iterable[Keyed]:
        """Up to 64 records; StopIteration at the end of the file or when the run is stopped."""
        if self._stopping():
            raise StopIteration
        if self._live and not select.select([self._file], [], [], 0)[0]:
            return []
        lines = [self._file.read()] if self._whole else self._lines()
        if not lines or not lines[0]:
            raise StopIteration
        batch: list[Keyed] = []
        for line in lines:
            self._line += 1
            self._offset += len(line)
            if line.strip():
                batch.append(self._record(line.rstrip(b"\r\n")))
        return batch

    def next_awake(self) -> datetime | None:
        """Standard input is polled, so that a signal is noticed."""
        return datetime.now(UTC) + POLL if self._live else None

    def snapshot(self) -> dict[str, Any]:
        """Where to go on."""
        return {
            "v": STATE_VERSION,
            "line": self._line,
            "offset": self._offset,
            "base_ms": self._base_ms,
        }

    def close(self) -> None:
        """Let go of the file."""
        if not self._live:
            self._file.close()

    def _lines(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < (1 if self._live else BATCH_LINES) and (line := self._file.readline()):
            lines.append(line)
        return lines

    def _record(self, raw: bytes) -> Keyed:
        stem = "stdin" if self._live else Path(self._path).stem
        value = wrapped(raw, stem)
        key = strategy_key(value)
        origin = Origin(self._path, position=self._line)
        record = Record(value, origin, key.encode(), self._base_ms + self._line)
        return key, record


class SubmissionFiles(FixedPartitionedSource[Keyed, dict[str, Any]]):
    """A file, a folder of `.json` and `.jsonl` files, or `-` for standard input; one partition each."""

    def __init__(self, path: str, stopping: Callable[[], bool], now_ms: Callable[[], int]) -> None:
        """The folder is listed when the run starts."""
        self._path = path
        self._stopping = stopping
        self._now_ms = now_ms

    def list_parts(self) -> list[str]:
        """File paths, sorted."""
        if self._path == "-" or not Path(self._path).is_dir():
            return [self._path]
        found = (each for each in Path(self._path).iterdir() if each.suffix in {".json", ".jsonl"})
        return sorted(str(each) for each in found)

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> SubmissionFile:
        """One reader per file."""
        return SubmissionFile(for_part, resume_state, self._stopping, self._now_ms())
