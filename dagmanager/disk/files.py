"""Files that grow by whole lines, and what the operating system says of them as errors of ours.

A full or failing disk may be freed or mended: `UnavailableError`, to be waited out. A folder where a
file belongs, missing rights and the like need a person: `SettingsError`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dagmanager.errors import SettingsError, UnavailableError

# Whoever meets one of these with any path needs a person; `ENOENT` also where a file's folder is not there.
UNUSABLE: Final = frozenset(
    {errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.EACCES, errno.EPERM}
    | {errno.ENAMETOOLONG, errno.ELOOP}
)
# With a file that we append to these do too; elsewhere they may be faults of this program.
_NEEDS_A_PERSON: Final = UNUSABLE | {
    errno.EEXIST,  # a file where a folder belongs
    errno.EINVAL,
    errno.ENXIO,  # a named pipe that nobody reads
}
_BLOCK: Final = 65_536


@contextmanager
def named_errors(path: Path, what: str = "written") -> Iterator[None]:
    """An `OSError` inside becomes `SettingsError` or `UnavailableError`, with the path and why."""
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be {what}: {error.strerror or error}"
        raise (SettingsError if error.errno in _NEEDS_A_PERSON else UnavailableError)(msg) from error


def opened(path: Path, mode: int = 0o666) -> int:
    """A descriptor to append to the file, which is made if need be. Raises `OSError`, never blocks."""
    special = path.exists() and not path.is_file()  # a device, a pipe: reading back makes no sense there
    access = os.O_WRONLY | os.O_NONBLOCK if special else os.O_RDWR | os.O_CREAT
    file = os.open(path, access | os.O_APPEND | os.O_CLOEXEC, mode)
    os.set_blocking(file, True)
    return file


def check(path: Path, *, make: bool) -> None:
    """Whether the file could be appended to; with `make` an absent one is made. Raises as `named_errors`."""
    with named_errors(path):
        if make or path.exists():
            os.close(opened(path))


def append(file: int, lines: bytes, *, durable: bool) -> None:
    """Add whole lines to an `opened` file: all of them, or after an `OSError` none.

    Others wait meanwhile, so that a line without an end is nobody's: it is cut. `durable` lines are on
    disk before this returns.
    """
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        start = _whole_lines_end(file)
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
    """On disk before this returns; devices and pipes have nothing to wait for."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def write_again(path: Path, start: int) -> None:
    """Write what the file holds from `start` once more.

    The kernel reports a failed write-back once and then takes the pages for clean: another `sync` alone
    would succeed without anything on disk.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while block := os.pread(file, _BLOCK, start):
            start += os.pwrite(file, block, start)
    finally:
        os.close(file)


def _whole_lines_end(file: int) -> int:
    end = os.fstat(file).st_size
    if end == 0 or os.pread(file, 1, end - 1) == b"\n":
        return end
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
