"""Runs a command and shows on a terminal how long it takes: scripts/with_seconds.py TEXT COMMAND..."""

from __future__ import annotations

import subprocess
import sys

from dagmanager.terminal.progress import progress, seconds_so_far


def main(text: str, *command: str) -> int:
    """The exit code of the command; 130 after Ctrl-C, which ends the command too."""
    try:
        with progress(seconds_so_far(text)):
            return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
