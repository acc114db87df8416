"""Reading a file that a person named; whatever is wrong with it is one clean error."""

from __future__ import annotations

import sys
from pathlib import Path

from dagmanager.cli.framework.error_report import CommandError, Exit, Report, usage


def read_input(name: str, bytes_max: int) -> bytes:
    """The bytes of a file, or of stdin for `-`; at most one byte more than allowed (the decoder refuses)."""
    if name == "-":
        if sys.stdin is None:
            raise usage("stdin is closed: `-` reads from there")
        return sys.stdin.buffer.read(bytes_max + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        notes = _nearby(name)
        report = Report("unreadable_file", f"cannot read {name}: {words}", Exit.USAGE, file=name, notes=notes)
        raise CommandError(report) from error


def _nearby(name: str) -> tuple[str, ...]:
    """A file in the same folder that was probably meant."""
    from dagmanager.cli.framework.output import meant

    try:
        path = Path(name)
        if path.is_dir():
            return ("it is a folder: name a file in it",)
        near = meant(path.name, (other.name for other in path.parent.iterdir()))
    except (OSError, ValueError):
        return ()
    return (f"did you mean `{path.parent / near}`?",) if near else ()
