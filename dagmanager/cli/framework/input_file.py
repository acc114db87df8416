"""Reads a file that a person named; what is wrong with it is one clean error."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from dagmanager.terminal.report import CommandError, Exit, Report, usage


def read_input(name: str, bytes_max: int) -> bytes:
    """The bytes of a file, or of stdin for `-`; `CommandError` when it cannot be read or has more than allowed."""
    if name == "-":
        if sys.stdin is None:
            raise usage("stdin is closed: `-` reads from there")
        return _bounded(sys.stdin.buffer, "<stdin>", bytes_max)
    try:
        with Path(name).open("rb") as file:
            return _bounded(file, name, bytes_max)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        report = Report(
            "unreadable_file", f"cannot read {name}: {words}", Exit.USAGE, file=name, helps=_nearby(name)
        )
        raise CommandError(report) from error


def _bounded(file: BinaryIO, name: str, bytes_max: int) -> bytes:
    raw = file.read(bytes_max + 1)
    if len(raw) <= bytes_max:
        return raw
    status = os.fstat(file.fileno())
    size = f"{status.st_size:,} bytes" if stat.S_ISREG(status.st_mode) else f"more than {bytes_max:,} bytes"
    message = f"the file has {size}; the limit is {bytes_max:,} (`submission_bytes_max`)"
    raise CommandError(Report("too_large", message, file=name))


def _nearby(name: str) -> tuple[str, ...]:
    """A file in the same folder whose name is nearly the same."""
    from dagmanager.terminal.text import nearest

    try:
        path = Path(name)
        if path.is_dir():
            return ("this is a folder: name a file in it",)
        near = nearest(path.name, (other.name for other in path.parent.iterdir()))
    except (OSError, ValueError):
        return ()
    return (f"did you mean `{path.parent / near}`?",) if near else ()
