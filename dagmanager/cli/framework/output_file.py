"""Writing a file that a person named: the whole text, or what was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dagmanager.cli.framework.error_report import CommandError, Exit, Report


def write_whole(name: str, text: str) -> None:
    """Replaces the file at once; a pipe or a device is written to. One clean error when it cannot be."""
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            Report("unreadable_file", f"cannot write {name}: {words}", Exit.USAGE, file=name)
        ) from error


def _replace(path: Path, text: str) -> None:
    """Through a file beside it, which is durable before it takes the name."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_mask()
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def _mask() -> int:
    """What this process takes from the rights of new files; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
