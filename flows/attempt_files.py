"""Attempts in the recovery folder: `attempts.json`, and an in-flight marker `hand-N` per thread.

A marker is mapped into memory: writing it costs a microsecond, and what was written survives a kill of the process, but
not a crash of the machine. That is intended: when a machine goes down, no record is the cause.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from dagmanager.dag.model import Origin
from dagmanager.disk.replace_file import replace_file
from flows.recovery import named_errors
from operators.poison_quarantine import PoisonCandidate, PoisonQuarantine

FILE: Final = "attempts.json"
MARKERS: Final = "hand-*"
INTERRUPTED: Final = "interrupted"
FIRST_BYTES: Final = 64 * 1024
_LENGTH: Final = struct.Struct("<I")
_InFlight = tuple[str, list[Origin]]
logger = logging.getLogger("dagmanager.flow")


class MappedMarker:
    """An `InFlightMarker` in a file. For one thread."""

    def __init__(self, path: Path) -> None:
        """Create the file, empty. Raises `OSError`, also when the disk is full."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._encode = msgspec.json.Encoder().encode
        self._map = self._mapped(FIRST_BYTES)

    def mark(self, step: str, origins: Sequence[Origin]) -> None:
        """Name these records. The length is written last: after a kill the marker names all of them, or none."""
        text = self._encode((step, origins))
        end = _LENGTH.size + len(text)
        if end > len(self._map):
            self._map.close()
            self._map = self._mapped(2 * end)
        self.clear()
        self._map[_LENGTH.size : end] = text
        _LENGTH.pack_into(self._map, 0, len(text))

    def clear(self) -> None:
        """Name no record."""
        _LENGTH.pack_into(self._map, 0, 0)

    def _mapped(self, size: int) -> mmap.mmap:
        """Reserve the space on disk first: on a full disk, a write to the mapped memory would kill the process (SIGBUS)."""
        os.posix_fallocate(self._file, 0, size)
        return mmap.mmap(self._file, size)


class AttemptFiles:
    """The `AttemptStore` of a recovery folder. For the process that has the folder's lock."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or created yet."""
        self._folder = folder
        self._markers = 0
        self._lock = threading.Lock()
        self._interrupted = -1

    def candidates(self) -> tuple[PoisonCandidate, ...]:
        """The stored candidates, with one more attempt for each record that a marker still names, unless the last run was
        interrupted by a person or a supervisor.

        The new counts are stored before the markers are removed: a kill in between counts an attempt twice, never zero
        times.
        """
        with named_errors(self._folder):
            found = {each.origin: each for each in self._kept()}
            markers = [] if self._was_interrupted() else sorted(self._folder.glob(MARKERS))
            for path in markers:
                step, origins = _held(path.read_bytes())
                for origin in Counter(origins):  # each once: one record may have been several submissions
                    before = found[origin].attempts if origin in found else 0
                    found[origin] = PoisonCandidate(origin, before + 1, step)
            counted = tuple(found.values())
            if counted:
                self.keep(counted)
            self._remove_markers()
            self._open_interrupted()
            return counted

    def keep(self, candidates: Sequence[PoisonCandidate]) -> None:
        """Replace the stored candidates by these; durable before it returns."""
        with named_errors(self._folder):
            replace_file(self._folder / FILE, msgspec.json.encode(candidates) + b"\n")

    def marker(self) -> MappedMarker:
        """A new marker for the calling thread; `hand-0` is the first one's. The name is that of released versions."""
        with self._lock, named_errors(self._folder):
            self._markers += 1
            return MappedMarker(self._folder / f"hand-{self._markers - 1}")

    def interrupt(self) -> None:
        """The end of this run counts for no record from now on: a signal asked for its end. Never raises; its byte was
        reserved before, so that a full disk does not matter."""
        if self._interrupted >= 0:
            with suppress(OSError):
                os.pwrite(self._interrupted, b"1", 0)

    def _was_interrupted(self) -> bool:
        path = self._folder / INTERRUPTED
        return path.exists() and path.read_bytes() == b"1"

    def _open_interrupted(self) -> None:
        """After the markers are gone: a kill in between must not count them."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._interrupted = os.open(self._folder / INTERRUPTED, flags, 0o600)
        os.pwrite(self._interrupted, b"0", 0)

    def forget(self) -> None:
        """Remove counts and markers: the run has ended, and everything that was read is answered."""
        with named_errors(self._folder):
            self._remove_markers()
            (self._folder / FILE).unlink(missing_ok=True)
            (self._folder / INTERRUPTED).unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open; `interrupt` does nothing from now on."""
        file, self._interrupted = self._interrupted, -1
        if file >= 0:
            os.close(file)

    def _kept(self) -> list[PoisonCandidate]:
        path = self._folder / FILE
        if not path.exists():
            return []
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[PoisonCandidate])
        except msgspec.MsgspecError as error:
            logger.warning("%s is damaged (%s): attempts are counted from zero", path, error)
            return []

    def _remove_markers(self) -> None:
        for path in self._folder.glob(MARKERS):
            path.unlink()


def _held(content: bytes) -> _InFlight:
    with suppress(struct.error, msgspec.MsgspecError):
        (length,) = _LENGTH.unpack_from(content)
        if length:
            found: _InFlight = msgspec.json.decode(
                content[_LENGTH.size : _LENGTH.size + length], type=_InFlight
            )
            return found
    return "", []


@contextmanager
def counted(quarantine: PoisonQuarantine, folder: Path) -> Iterator[AttemptFiles]:
    """Attempts are counted in `folder` within the block, and removed when it ends without an error."""
    files = AttemptFiles(folder)
    quarantine.begin(files)
    try:
        yield files
        files.forget()
    finally:
        files.close()
