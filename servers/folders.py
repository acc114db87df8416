"""Data folders that are removed with their owner, or at the latest when the next one is created."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import Self

PREFIX = "qmtl-servers-"
OWNED = "owned"


class OwnedFolder:
    """A new folder in the system's temporary folder. Its owner holds a file lock, which ends with the process."""

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Locked before the rename: `sweep` looks for that name only.
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
    """Remove the folders of owners that were killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNED}"):
        try:
            with lock.open("r+") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue  # its owner is alive, another process was faster, or it is another user's
