"""Writing the file that an option names: the whole text, or the old file stays."""

from __future__ import annotations

import os
from pathlib import Path

from dagmanager.disk.replace_file import replace_file
from dagmanager.terminal.report import CommandError, Exit, Report


def write_whole(name: str, text: str) -> None:
    """Replace the file in one step; a pipe or a device is written to. Raises `CommandError` (`unreadable_file`)."""
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            target = path.resolve()  # through a symbolic link
            # Two commands may write one file at a time: each has a temporary file of its own.
            own = target.with_name(f".{target.name}.{os.getpid()}.new")
            replace_file(target, text.encode(), temporary=own)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            Report("unreadable_file", f"cannot write {name}: {words}", Exit.USAGE, file=name)
        ) from error
