"""Submissions from files: one line or one `.json` file each; the source of the embedded default.

The record time is the start of the run plus the position. The start is part of the snapshot, so that a replay sees the
same times (docs/semantics.md 2, Record time). A snapshot says whether its run had ended: records read after that belong
to a new run. Of a line longer than the size limit only one byte more than the limit is kept in memory, which is enough
to refuse it, and the digest and length of the whole, for its dead letter.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import stat
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Origin, Record
from dagmanager.dag.record.bare_dag import keyed_submission
from dagmanager.errors import SettingsError
from operators.sources.keyed_record import KeyedRecord
from operators.sources.line_splitter import Line, LineSplitter, WholeLine

logger = logging.getLogger("dagmanager.flow")

BATCH_LINES: Final = 64
BATCH_BYTES: Final = 8 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
STATE_VERSION: Final = 2
# Version 1 did not say whether the run had ended: its runs are always resumed, as they were then.
_READABLE: Final = frozenset({1, STATE_VERSION})
FILE_POLL: Final = timedelta(milliseconds=20)
STDIN: Final = "-"
FileState = dict[str, Any]


class RunStart(Protocol):
    """The start of the current run, kept outside of the snapshots: a kill may come before the first one."""

    def kept_ms(self) -> int | None:
        """The start that was kept last, in ms since the epoch; None when there is none. Raises `DagManagerError` for a
        damaged file."""
        ...

    def keep(self, start_ms: int) -> None:
        """Keep this start, in ms since the epoch: durable before it returns. Raises `DagManagerError`."""
        ...


class UnkeptStart:
    """For runs that do not resume."""

    def kept_ms(self) -> int | None:
        """None."""
        return None

    def keep(self, start_ms: int) -> None:
        """Keep nothing."""


class _Place:
    """The position of the reading, and the content of a snapshot: names of attributes are stored."""

    def __init__(self, state: FileState | None, kept_ms: int | None, now_ms: int) -> None:
        """Resume the run that was interrupted, or begin one after the run that ended."""
        known = state or {}
        if state is not None and known.get("v") not in _READABLE:
            msg = (
                f"the recovery folder has a state of version {known.get('v')!r}, unknown to this release: use the release "
                "that wrote it, or a new folder (then everything is read again, as new submissions)"
            )
            raise SettingsError(msg)
        self.file: str = known.get("file", "")
        self.line: int = known.get("line", 0)
        self.offset: int = known.get("offset", 0)
        self.count: int = known.get("count", 0)
        self.passed: int | None = known.get("passed")
        self.base_ms: int = known.get("base_ms", now_ms if kept_ms is None else kept_ms)
        if known.get("ended", False):
            if kept_ms is not None and kept_ms > self.base_ms:
                self.base_ms = kept_ms  # a run began after this snapshot and was killed before its own
            else:
                self.base_ms = max(now_ms, self.base_ms + self.count + 1)
            self.count = 0
        self.ended = False

    def snapshot(self) -> FileState:
        return {"v": STATE_VERSION, **vars(self)}

    def enter(self, file: str) -> None:
        if file != self.file:
            self.file, self.line, self.offset = file, 0, 0

    def record(self, line: Line, longest: int) -> KeyedRecord:
        """A line that is too long is not parsed: it will be refused."""
        stem = "stdin" if self.file == STDIN else Path(self.file).stem
        raw = line.text if line.whole else line.text.rstrip(b"\r")
        key, value = keyed_submission(raw, stem) if len(raw) <= longest else ("", raw)
        # The run is part of the origin: a file that was edited and then changed back is a new submission.
        origin = Origin(self.file, source_id=str(self.base_ms), position=self.line)
        return key, Record(value, origin, key.encode(), self.base_ms + self.count, line.whole)


class FilePartition(StatefulSourcePartition[KeyedRecord, FileState]):
    """Files one after the other, beginning after the last line of the snapshot."""

    def __init__(self, files: list[str], place: _Place, stopping: Callable[[], bool], longest: int) -> None:
        """`files` in the order of reading. Those before the file of the snapshot are done."""
        self._place = place
        self._waiting = [name for name in files if name >= place.file]
        self._files = files
        _warn_of_unread(files, place)
        self._stopping = stopping
        self._longest = longest
        self._file: BinaryIO | None = None

    def next_batch(self) -> Iterable[KeyedRecord]:
        """Some records; StopIteration after the last file, or when the run is stopped."""
        batch: list[KeyedRecord] = []
        room = BATCH_BYTES
        while len(batch) < BATCH_LINES and room > 0 and not self._stopping():
            found = self._line()
            if found is None:
                break
            line, length = found
            room -= max(1, length)
            if line.text.strip() or line.whole or self._whole():
                batch.append(self._place.record(line, self._longest))
        if not batch and (self._stopping() or (self._file is None and not self._waiting)):
            self._place.ended = True
            raise StopIteration
        return batch

    def snapshot(self) -> FileState:
        """The next position."""
        return self._place.snapshot()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _line(self) -> tuple[Line, int] | None:
        """The next line of all files, and its length in the file; None after the last one, or when stopped within a line."""
        while True:
            if self._file is None:
                if not self._waiting:
                    return None
                self._place.enter(self._waiting.pop(0))
                self._place.passed = bisect_left(self._files, self._place.file)
                self._file = _regular(self._place.file)
                self._file.seek(self._place.offset)
            found = self._unread(self._file)
            if found is None:
                return None
            if found[1] or (self._whole() and not self._place.line):
                self._place.offset += found[1]
                self._place.line += 1
                self._place.count += 1
                return found
            self._file.close()
            self._file = None

    def _unread(self, file: BinaryIO) -> tuple[Line, int] | None:
        if self._whole() and self._place.line:
            return Line(b""), 0  # it was one submission, even if it was empty or has grown
        return _bounded(file, self._longest, self._whole(), self._stopping)

    def _whole(self) -> bool:
        return self._place.file.endswith(".json")


def _warn_of_unread(files: list[str], place: _Place) -> None:
    """Warn of files that a resumed run will not read, because the order of names says that they were read already."""
    before = bisect_left(files, place.file)
    if place.passed is not None and before > place.passed:
        more = before - place.passed
        logger.warning("%d files that sort before %s were added after it: not read", more, place.file)
    if place.offset and place.file in files and Path(place.file).stat().st_size < place.offset:
        logger.warning("%s is shorter than what was read of it: its new content is not read", place.file)


class LivePartition(StatefulSourcePartition[KeyedRecord, FileState]):
    """Standard input: polled, so that a signal is noticed. What was read once cannot be read again."""

    def __init__(
        self, state: FileState | None, stopping: Callable[[], bool], now_ms: Callable[[], int], longest: int
    ) -> None:
        """After a restart the count continues, although the lines are new ones: a position is used once only."""
        self._now_ms = now_ms
        self._place = _Place(state, None, now_ms())
        self._place.enter(STDIN)
        self._stopping = stopping
        self._longest = longest
        self._lines = LineSplitter(longest)
        self._over = False

    def next_batch(self) -> Iterable[KeyedRecord]:
        """The lines that have arrived, without waiting; StopIteration at the end of input, or when the run is stopped."""
        if self._stopping() or self._over:
            self._place.ended = True
            raise StopIteration
        number = sys.stdin.fileno()
        if not select.select([number], [], [], 0)[0]:
            return []
        chunk = os.read(number, CHUNK_BYTES)
        self._over = not chunk
        return list(self._records(self._lines.feed(chunk) if chunk else self._lines.rest()))

    def next_awake(self) -> datetime | None:
        """At once while lines arrive, after 20 ms when none do."""
        ready = self._over or select.select([sys.stdin.fileno()], [], [], 0)[0]
        return None if ready else datetime.now(UTC) + FILE_POLL

    def snapshot(self) -> FileState:
        """How many lines there were."""
        return self._place.snapshot()

    def _records(self, lines: list[Line]) -> Iterable[KeyedRecord]:
        """Records whose time is the arrival of their line, and later than that of the line before."""
        for line in lines:
            self._place.base_ms = max(self._place.base_ms, self._now_ms() - self._place.count)
            self._place.line += 1
            self._place.count += 1
            if line.text.strip() or line.whole:
                yield self._place.record(line, self._longest)


class SubmissionFiles(FixedPartitionedSource[KeyedRecord, FileState]):
    """A file, a folder of `.json` and `.jsonl` files, or `-` for standard input.

    The files of a folder are read in the order of their names, as one stream: the order of submissions changes
    answers. With recovery on, files added later must come later by name.
    """

    def __init__(
        self,
        path: str,
        stopping: Callable[[], bool],
        now_ms: Callable[[], int],
        bytes_max: int = Limits().bytes_max,
        start: RunStart | None = None,
    ) -> None:
        """The folder is listed when the run starts. `bytes_max` is the size limit of one submission."""
        self._path = absolute(path)
        self._stopping = stopping
        self._now_ms = now_ms
        self._bytes_max = bytes_max
        self._start = start or UnkeptStart()

    def check(self) -> None:
        """Open every file once. `SettingsError` names one that cannot be read."""
        if self._path == STDIN:
            _check_stdin()
            return
        try:
            self._path.encode()
            for name in self.files():
                name.encode()
                if Path(name).exists() and not Path(name).is_file() and not Path(name).is_dir():
                    raise SettingsError(_endless(name))
                _regular(name).close()
        except OSError as error:
            msg = f"submissions_path: {error.filename} cannot be read: {error.strerror}"
            raise SettingsError(msg) from error
        except UnicodeEncodeError as error:
            msg = f"submissions_path: a file name is not UTF-8: {error.object!r}"
            raise SettingsError(msg) from error

    def files(self) -> list[str]:
        """The files to read, in this order."""
        if not Path(self._path).is_dir():
            return [self._path]
        found = (each for each in Path(self._path).iterdir() if each.suffix in {".json", ".jsonl"})
        return sorted(str(each) for each in found)

    def list_parts(self) -> list[str]:
        """One: files are not read side by side."""
        return [self._path]

    def build_part(
        self, step_id: str, for_part: str, resume_state: FileState | None
    ) -> FilePartition | LivePartition:
        """Resume where the snapshot says."""
        if for_part == STDIN:
            return LivePartition(resume_state, self._stopping, self._now_ms, self._bytes_max)
        kept_ms = self._start.kept_ms()
        place = _Place(resume_state, kept_ms, self._now_ms())
        if place.base_ms != kept_ms:
            self._start.keep(place.base_ms)
        return FilePartition(self.files(), place, self._stopping, self._bytes_max)


def absolute(path: str) -> str:
    """The absolute path, because it is part of a submission's id; `-` stays.

    `..` stays, too: above a symlink to a folder it is not the folder that the path names.
    """
    return path if path == STDIN else str(Path(path).absolute())


def _regular(name: str) -> BinaryIO:
    """Open for reading; a device or a pipe is refused, as it may never end."""
    file = open(name, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SettingsError(_endless(name))
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Without `O_NONBLOCK`, opening a pipe that has no writer would block for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _endless(name: str) -> str:
    return f"submissions_path: {name} cannot be read: it is not a regular file"


def _check_stdin() -> None:
    why = ""
    if sys.stdin is None:  # Python's way to say that the descriptor was closed before the start
        why = "it is closed"
    elif stat.S_ISDIR(os.fstat(sys.stdin.fileno()).st_mode):
        why = "it is a directory"
    elif fcntl.fcntl(sys.stdin.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        why = "it is open for writing only"
    if why:
        msg = f"submissions_path: standard input cannot be read: {why}"
        raise SettingsError(msg)


def _bounded(
    file: BinaryIO, longest: int, whole: bool, stopping: Callable[[], bool]
) -> tuple[Line, int] | None:
    """The next line (or all the rest), at most one byte more than `longest` of it; and its length in the file.

    None when the run is stopped before the end of a line that is too long.
    """
    read = file.read if whole else file.readline
    text = read(longest + 2)
    length = len(text)
    if length < longest + 2 or (not whole and text.endswith(b"\n")):
        return Line(text if whole else text.removesuffix(b"\n")), length
    all_of_it = WholeLine(text)
    while rest := read(CHUNK_BYTES):
        if stopping():
            return None
        length += len(rest)
        all_of_it.feed(rest if whole else rest.removesuffix(b"\n"))
        if not whole and rest.endswith(b"\n"):
            break
    return Line(text[: longest + 1], all_of_it.found()), length
