"""An append-only file of JSON lines that survives a crash in the middle of a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from dagmanager.disk import line_file
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.disk.replace_file import sync_folder

_OWNER_ONLY: Final = 0o600


class JsonLines:
    """Appends whole lines, also when several processes write. Holds no open file between calls."""

    def __init__(self, path: Path) -> None:
        """The file is created with the first line, readable by its owner only (mode 600)."""
        self._path = path

    def append(self, values: Sequence[Any]) -> None:
        """Append all in order; durable (fsync) when this returns. Blocks for as long as the disk takes.

        Raises `UnavailableError` when the disk is full or fails, and then has added nothing; `SettingsError` when the path
        can never be written to.
        """
        if not values:
            return
        text = b"".join(msgspec.json.encode(value) + b"\n" for value in values)
        with translated_os_errors(self._path, "appended to"):
            is_new = not self._path.exists()
            file = line_file.open_for_append(self._path, _OWNER_ONLY)
            try:
                line_file.append_lines(file, text, durable=True)
            finally:
                os.close(file)
            if is_new:
                sync_folder(self._path.parent)  # else a power cut may lose the name
