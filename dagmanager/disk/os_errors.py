"""Which errors of the operating system pass by themselves, and which need a person.

A full or failing disk may be freed or repaired: `UnavailableError`, which callers retry. A folder where a
file belongs, missing rights and the like need a person: `SettingsError`, which ends the run.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dagmanager.errors import SettingsError, UnavailableError

# These need a person whatever was done with the path; `ENOENT` also means that the file's folder is missing.
UNUSABLE: Final = frozenset(
    {errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.EACCES, errno.EPERM}
    | {errno.ENAMETOOLONG, errno.ELOOP}
)
# These need a person when a path from the settings is opened or written; elsewhere they may be a bug of ours.
_NEEDS_A_PERSON: Final = UNUSABLE | {
    errno.EEXIST,  # a file where a folder belongs
    errno.EINVAL,
    errno.ENXIO,  # a named pipe without a reader
}


@contextmanager
def translated_os_errors(path: Path, what: str = "written") -> Iterator[None]:
    """Raises `SettingsError` or `UnavailableError` for an `OSError` of the block.

    The message is "`path` cannot be `what`: reason".
    """
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be {what}: {error.strerror or error}"
        raise (SettingsError if error.errno in _NEEDS_A_PERSON else UnavailableError)(msg) from error
