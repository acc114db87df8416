"""Submissions from files: one line or one `.json` file each; the source of the embedded default.

The record time is when the run began to read, plus the position: it lies in the snapshot, so that a
replay sees the same times (decisions 1, Order). A line longer than the size limit is never held in
memory: one byte more than the limit is, which is enough to refuse it.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Origin, Record
from dagmanager.dag.wrap import keyed
from dagmanager.errors import SettingsError
from operators.line_splitter import LineSplitter

BATCH_LINES: Final = 64
BATCH_BYTES: Final = 8 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
STATE_VERSION: Final = 1
POLL: Final = timedelta(milliseconds=20)
STDIN: Final = "-"
Keyed = tuple[str, Record]
State = dict[str, Any]


class _Place:
    """How far the reading has come; what a snapshot holds."""

    def __init__(self, state: State | None, now_ms: int) -> None:
        good = state is not None and state.get("v") == STATE_VERSION
        known: State = state if good and state is not None else {}
        self.file: str = known.get("file", "")
        self.line: int = known.get("line", 0)
        self.offset: int = known.get("offset", 0)
        self.count: int = known.get("count", 0)
        self.base_ms: int = known.get("base_ms", now_ms)

    def snapshot(self) -> State:
        return {"v": STATE_VERSION, **vars(self)}

    def enter(self, file: str) -> None:
        if file != self.file:
            self.file, self.line, self.offset = file, 0, 0

    def record(self, raw: bytes, longest: int) -> Keyed:
        """Too long a line is not looked into: it will be refused."""
        stem = "stdin" if self.file == STDIN else Path(self.file).stem
        key, value = keyed(raw, stem) if len(raw) <= longest else ("", raw)
        # A run is an origin of its own: an edited file that goes back to what it was is a new submission.
        origin = Origin(self.file, source_id=str(self.base_ms), position=self.line)
        return key, Record(value, origin, key.encode(), self.base_ms + self.count)


class FilePartition(StatefulSourcePartition[Keyed, State]):
    """Files one after the other; goes on after the last line of the snapshot."""

    def __init__(
        self, files: list[str], state: State | None, stopping: Callable[[], bool], now_ms: int, longest: int
    ) -> None:
        """`files` in the order of reading. Those before the snapshot's are done."""
        self._place = _Place(state, now_ms)
        self._waiting = [name for name in files if name >= self._place.file]
        self._stopping = stopping
        self._longest = longest
        self._file: BinaryIO | None = None

    def next_batch(self) -> Iterable[Keyed]:
        """Some records; StopIteration after the last file, or when the run is stopped."""
        if self._stopping():
            raise StopIteration
        batch: list[Keyed] = []
        room = BATCH_BYTES
        while len(batch) < BATCH_LINES and room > 0:
            line = self._line()
            if line is None:
                break
            room -= len(line)
            if line.strip():
                batch.append(self._place.record(line.rstrip(b"\r"), self._longest))
        if not batch and self._file is None and not self._waiting:
            raise StopIteration
        return batch

    def snapshot(self) -> State:
        """Where to go on."""
        return self._place.snapshot()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _line(self) -> bytes | None:
        """The next line of all files, without its end; None after the last."""
        while True:
            if self._file is None:
                if not self._waiting:
                    return None
                self._place.enter(self._waiting.pop(0))
                self._file = Path(self._place.file).open("rb")  # noqa: SIM115 - closed in close()
                self._file.seek(self._place.offset)
            whole = self._place.file.endswith(".json")
            line, length = _bounded(self._file, self._longest, whole)
            if length:
                self._place.offset += length
                self._place.line += 1
                self._place.count += 1
                return line
            self._file.close()
            self._file = None


class LivePartition(StatefulSourcePartition[Keyed, State]):
    """Standard input: polled, so that a signal is noticed. What was read once cannot be read again."""

    def __init__(
        self, state: State | None, stopping: Callable[[], bool], now_ms: Callable[[], int], longest: int
    ) -> None:
        """After a restart the count goes on; the lines are other ones."""
        self._now_ms = now_ms
        self._place = _Place(state, now_ms())
        self._place.enter(STDIN)
        self._stopping = stopping
        self._longest = longest
        self._lines = LineSplitter(longest)
        self._over = False

    def next_batch(self) -> Iterable[Keyed]:
        """The lines that have come; StopIteration at the end of input, or when the run is stopped."""
        if self._stopping() or self._over:
            raise StopIteration
        number = sys.stdin.fileno()
        if not select.select([number], [], [], 0)[0]:
            return []
        chunk = os.read(number, CHUNK_BYTES)
        self._over = not chunk
        return list(self._records(self._lines.feed(chunk) if chunk else self._lines.rest()))

    def next_awake(self) -> datetime | None:
        """At once while lines come, soon when none do."""
        ready = self._over or select.select([sys.stdin.fileno()], [], [], 0)[0]
        return None if ready else datetime.now(UTC) + POLL

    def snapshot(self) -> State:
        """How many lines there were."""
        return self._place.snapshot()

    def _records(self, lines: list[bytes]) -> Iterable[Keyed]:
        """A line's record time is its arrival, never before the line that came before it."""
        for line in lines:
            self._place.base_ms = max(self._place.base_ms, self._now_ms() - self._place.count)
            self._place.line += 1
            self._place.count += 1
            if line.strip():
                yield self._place.record(line.rstrip(b"\r"), self._longest)


class SubmissionFiles(FixedPartitionedSource[Keyed, State]):
    """A file, a folder of `.json` and `.jsonl` files, or `-` for standard input.

    The files of a folder are read in the order of their names, as one stream: which came first is part
    of the answer. With recovery on, files added later must come later by name.
    """

    def __init__(
        self,
        path: str,
        stopping: Callable[[], bool],
        now_ms: Callable[[], int],
        bytes_max: int = Limits().bytes_max,
    ) -> None:
        """The folder is listed when the run starts. `bytes_max` is the size limit of one submission."""
        self._path = path
        self._stopping = stopping
        self._now_ms = now_ms
        self._bytes_max = bytes_max

    def check(self) -> None:
        """Open every file once. `SettingsError` names one that cannot be read."""
        if self._path == STDIN:
            return
        try:
            for name in self.files():
                name.encode()
                if Path(name).exists() and not Path(name).is_file() and not Path(name).is_dir():
                    msg = f"submissions_path: {name} cannot be read: it is no regular file"
                    raise SettingsError(msg)
                with Path(name).open("rb"):
                    pass
        except OSError as error:
            msg = f"submissions_path: {error.filename} cannot be read: {error.strerror}"
            raise SettingsError(msg) from error
        except UnicodeEncodeError as error:
            msg = f"submissions_path: a file name is no UTF-8: {error.object!r}"
            raise SettingsError(msg) from error

    def files(self) -> list[str]:
        """What is read, in this order."""
        if not Path(self._path).is_dir():
            return [self._path]
        found = (each for each in Path(self._path).iterdir() if each.suffix in {".json", ".jsonl"})
        return sorted(str(each) for each in found)

    def list_parts(self) -> list[str]:
        """One: files are not read side by side."""
        return [self._path]

    def build_part(
        self, step_id: str, for_part: str, resume_state: State | None
    ) -> FilePartition | LivePartition:
        """Resume where the snapshot says."""
        now_ms, longest = self._now_ms(), self._bytes_max
        if for_part == STDIN:
            return LivePartition(resume_state, self._stopping, self._now_ms, longest)
        return FilePartition(self.files(), resume_state, self._stopping, now_ms, longest)


def _bounded(file: BinaryIO, longest: int, whole: bool) -> tuple[bytes, int]:
    """The next line (or all the rest), at most one byte more than `longest`; and what it takes in the file."""
    read = file.read if whole else file.readline
    line = read(longest + 2)
    length = len(line)
    if length == longest + 2 and (whole or not line.endswith(b"\n")):
        while rest := read(CHUNK_BYTES):
            length += len(rest)
            if not whole and rest.endswith(b"\n"):
                break
    if not whole:
        line = line.removesuffix(b"\n")
    return line[: longest + 1], length
