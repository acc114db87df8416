"""Replacing a file in one step: a reader, or a crash at any moment, finds the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, durable: bool = True, temporary: Path | None = None) -> None:
    """Put `content` in place of the file at `path`, or create it. Raises `OSError`; the old file stays then.

    `durable`: content and name are on disk before it returns (two fsyncs: it blocks while the disk is
    slow). The file keeps its permissions; a new one has 0666 less the umask. A symbolic link is itself
    replaced. `temporary` is written first, in the same folder; the default `temporary_of(path)` is for paths
    that one process writes at a time.
    """
    first = temporary or temporary_of(path)
    first.unlink(missing_ok=True)  # what a crash left behind
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(first, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(content)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)  # the umask may have taken some
            if durable:
                # Before the rename: a file system may write the new name before the content.
                os.fsync(file.fileno())
        first.replace(path)
    except BaseException:
        first.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def temporary_of(path: Path) -> Path:
    """Where `replace_file` writes the new content first: a hidden file in the same folder."""
    return path.with_name(f".{path.name}.new")


def sync_folder(folder: Path) -> None:
    """Block until the folder's names are on disk: only then does a created or renamed file survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
