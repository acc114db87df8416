"""A file of JSON lines that only grows and survives a crash in the middle of a line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from dagmanager.errors import UnavailableError

_OWNER_ONLY: Final = 0o600


class JsonLines:
    """Appends whole lines, also when several processes write. Holds no open file between calls."""

    def __init__(self, path: Path) -> None:
        """`path` is created at the first line, for its owner alone."""
        self._path = path

    def append(self, values: Sequence[Any]) -> None:
        """Durable before it returns; `UnavailableError` when the disk refuses."""
        if not values:
            return
        text = b"".join(msgspec.json.encode(value) + b"\n" for value in values)
        try:
            is_new = not self._path.exists()
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                _write(file, (b"\n" if _is_torn(file) else b"") + text)
            finally:
                os.close(file)  # and the lock with it
            if is_new:
                _sync_folder(self._path.parent)
        except OSError as error:
            msg = f"{self._path} cannot be appended to: {error.strerror}"
            raise UnavailableError(msg) from error


def _is_torn(file: int) -> bool:
    """Whether a writer died within its last line: the next one must not continue it."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    """A new file's name is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
