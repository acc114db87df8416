"""Folders for servers' data that go with whoever made them, at the latest when the next one is made."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import Self

PREFIX = "qmtl-servers-"
OWNED = "owned"


class OwnedFolder:
    """A fresh folder below the system's temporary one; its owner holds a lock, which ends with the process."""

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Locked before it gets its name: a sweep looks at nothing but that name.
        unnamed = self.path / "unnamed"
        self._lock = unnamed.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / OWNED)

    def remove(self) -> None:
        """Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def sweep() -> None:
    """Remove what owners left who had no time to."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNED}"):
        try:
            with lock.open("r+") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue  # its owner lives, or somebody else was quicker, or it is another user's
