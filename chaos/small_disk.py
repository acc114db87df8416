"""A disk of its own for one server, small enough to be filled.

It is a file system in memory, which needs the right to mount. `python -m chaos` therefore runs in a mount namespace of its
own (`run_with_mounts`): the kernel removes the mount with the last process in it, and no other process sees it.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn, Self

SIZE_MB: Final = 512
MIB: Final = 1024 * 1024
# With these sizes in turn the last free page is written, too.
BLOCKS: Final = (MIB, 4096)
# Set in the process that has a mount namespace of its own.
MARK: Final = "QMTL_CHAOS_MOUNTS"
# As root, else as root of a user namespace, where the kernel allows them to every user.
NAMESPACES: Final = (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount"))


class SmallDisk:
    """A file system of `SIZE_MB` at `folder`, which must be empty."""

    def __init__(self, folder: Path) -> None:
        """Mounts nothing."""
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all free space, until `clear`."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in BLOCKS:
                _write_all(ballast.fileno(), bytes(size))

    def clear(self) -> None:
        """Free what `fill` took. Idempotent."""
        self._ballast.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        options = ["-t", "tmpfs", "-o", f"size={SIZE_MB}m"]
        subprocess.run(["mount", *options, "small-disk", str(self.folder)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a server that was killed a moment ago may still hold a file.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def may_mount() -> bool:
    """Whether this process has a mount namespace of its own."""
    return MARK in os.environ


def run_with_mounts(module: str, arguments: list[str]) -> str:
    """Become this module in a mount namespace of its own; where that is impossible, return why."""
    if may_mount():
        return ""
    why = "no program `unshare`"
    for namespace in NAMESPACES:
        try:
            tried = [*namespace, "mount", "-t", "tmpfs", "trial", "/mnt"]
            done = subprocess.run(tried, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            break
        if done.returncode == 0:
            _become([*namespace, sys.executable, "-m", module, *arguments])
        why = " ".join(done.stderr.split())
    return why


def _become(command: list[str]) -> NoReturn:
    os.execvpe(command[0], command, os.environ | {MARK: "1"})


def _write_all(file: int, block: bytes) -> None:
    while True:
        try:
            os.write(file, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
