"""Files that grow by whole lines, also when several processes append to them.

Every function raises plain `OSError`; `os_errors.translated_os_errors` gives it a meaning.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from dagmanager.disk.os_errors import translated_os_errors

_BLOCK_BYTES: Final = 65_536


def open_for_append(path: Path, mode: int = 0o666) -> int:
    """A descriptor to append to the file, which is created if absent with `mode` less the umask.

    Raises `OSError`. Never blocks: a named pipe without a reader is an error (`ENXIO`).
    """
    # A device or pipe is write-only: nothing can be read back from it.
    special = path.exists() and not path.is_file()
    access = os.O_WRONLY | os.O_NONBLOCK if special else os.O_RDWR | os.O_CREAT
    file = os.open(path, access | os.O_APPEND | os.O_CLOEXEC, mode)
    os.set_blocking(file, True)
    return file


def check_appendable(path: Path, *, create: bool) -> None:
    """Check that the file could be appended to; with `create` an absent file is created.

    Raises `SettingsError` or `UnavailableError`.
    """
    with translated_os_errors(path):
        if create or path.exists():
            os.close(open_for_append(path))


def append_lines(file: int, lines: bytes, *, durable: bool) -> None:
    """Append whole lines to an `open_for_append` descriptor: all of them, or none after an `OSError`.

    Blocks while another process appends. `durable`: on disk before it returns (one fsync). A last line
    without its end is what a crash left of an append that never counted: it is cut off first.
    """
    # The lock makes that safe: no other process can be in the middle of a line.
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        start = _end_of_whole_lines(file)
        if os.fstat(file).st_size > start:
            os.ftruncate(file, start)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
            if durable:
                sync(file)
        except OSError:
            with suppress(OSError):  # the next append cuts it
                os.ftruncate(file, start)
            raise
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def sync(file: int) -> None:
    """Block until the file's content is on disk. A device or pipe has nothing to sync."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def rewrite_from(path: Path, start: int) -> None:
    """Write the file's content from byte `start` once more, without changing it.

    For a retry after a failed `sync`: the kernel reports a failed write-back once and then takes the pages
    for clean, so that a second fsync alone succeeds with nothing on disk.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while block := os.pread(file, _BLOCK_BYTES, start):
            start += os.pwrite(file, block, start)
    finally:
        os.close(file)


def _end_of_whole_lines(file: int) -> int:
    end = os.fstat(file).st_size
    if end == 0 or os.pread(file, 1, end - 1) == b"\n":
        return end
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
