"""How a program ends whose output goes into a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from dagmanager.terminal.report import Exit


def until_reader_leaves(main: Callable[[], int]) -> int:
    """Run `main` and flush stdout; its exit code, or 141 when the reader of the pipe, such as `head`, has closed it."""
    try:
        code = main()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # What is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.READER_LEFT
