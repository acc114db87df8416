"""The exception of a failed run → a `DagManagerError`: one line for the user, and an exit code.

Bytewax wraps what our steps raise, and reports errors of its recovery store as text (a `RuntimeError`, or a panic that
is not an `Exception`). Only this file knows what each of them means.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from pathlib import Path
from typing import Final

from bytewax.recovery import InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError

from dagmanager.disk.os_errors import UNUSABLE
from dagmanager.errors import DagManagerError, SettingsError, UnavailableError

# These may pass by themselves, or when disk space is freed. What is neither here nor unusable is a defect of this
# program and keeps its traceback.
_PASSING: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
_PASSING_SQLITE: Final = frozenset({"DiskFull", "SystemIoFailure", "DatabaseBusy", "DatabaseLocked"})
_PASSING_CODES: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
)
_CLOSED_CODES: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_SQLITE: Final = re.compile(
    r'SqliteFailure\(Error \{ code: (\w+), extended_code: (\d+) \}, (?:Some\("([^"]*)"\))?'
)
_OTHER_PART: Final = "is not in this worker's routing map"
_PARTITIONS_GONE: Final = (MissingPartitionsError, NoPartitionsError, InconsistentPartitionsError)


def explained(failed: BaseException, recovery: Path | None) -> DagManagerError | None:
    """The `DagManagerError` among the causes of `failed`, or a new one that names the file or folder; None for a defect."""
    cause: BaseException | None = failed
    while cause is not None:
        known = _known(cause, recovery)
        if known is not None:
            return known
        cause = cause.__cause__
    return None


def of_system(error: OSError, what: str = "") -> DagManagerError | None:
    """The operating system's error as one line that names `what`, or the file; None for an error that is a defect."""
    named = what or error.filename
    text = f"{named} cannot be used: {error.strerror}" if named else str(error.strerror)
    if error.errno in UNUSABLE:
        return SettingsError(text)
    return UnavailableError(text) if error.errno in _PASSING else None


def of_sqlite(error: sqlite3.Error, folder: Path) -> DagManagerError:
    """The error for a failure of SQLite with the recovery folder's files."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
    if code in _PASSING_CODES:
        return _unusable(folder, str(error))
    return _closed(folder, str(error)) if code in _CLOSED_CODES else damaged(folder, str(error))


def damaged(folder: Path, why: str) -> SettingsError:
    """The error for snapshots that cannot be read."""
    return SettingsError(
        f"recovery folder {folder} is damaged ({why}): restore it, or give a new one "
        "(then everything is read again, as new submissions)"
    )


def _known(cause: BaseException, recovery: Path | None) -> DagManagerError | None:
    if isinstance(cause, DagManagerError):
        return cause
    if recovery is not None:
        if isinstance(cause, _PARTITIONS_GONE):
            return damaged(recovery, str(cause))
        if isinstance(cause, RuntimeError) or type(cause).__name__ == "PanicException":
            return _of_bytewax(str(cause), recovery)
    return of_system(cause) if isinstance(cause, OSError) else None


def _of_bytewax(text: str, recovery: Path) -> DagManagerError | None:
    if _OTHER_PART in text:
        return SettingsError(
            f"recovery folder {recovery} belongs to a run that read other submissions or partitions: "
            "use another folder"
        )
    found = _SQLITE.search(text)
    if found is None:
        return None
    code, why = found[1], found[3] or found[1]
    if code in _PASSING_SQLITE:
        full = code == "DiskFull" or int(found[2]) == sqlite3.SQLITE_IOERR_SHMSIZE
        return _unusable(recovery, os.strerror(errno.ENOSPC) if full else why)
    if code in {"CannotOpen", "ReadOnly", "PermissionDenied"}:
        return _closed(recovery, why)
    return damaged(recovery, why)


def _closed(folder: Path, why: str) -> SettingsError:
    return SettingsError(f"recovery folder {folder} cannot be used: {why}")


def _unusable(folder: Path, why: str) -> UnavailableError:
    return UnavailableError(f"recovery folder {folder} cannot be written: {_full(folder) or why}")


def _full(folder: Path) -> str:
    """The system's text for a full disk; SQLite reports an I/O error when it cannot create its side files."""
    try:
        return "" if os.statvfs(folder).f_bavail else os.strerror(errno.ENOSPC)
    except OSError as error:
        return str(error.strerror)
