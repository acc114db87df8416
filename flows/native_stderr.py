"""What native code writes to standard error: passed on at once, but for the text of Rust panics.

Bytewax turns each failure of a step into a panic, whose text comes before our error and says less. Only a process of its
own can hold it back: a panic is written to the descriptor itself, and what else native code writes there (an assertion
of a client, right before it aborts) must not be lost with this process.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

STDIN, STDOUT, STDERR = 0, 1, 2
_PANIC: Final = re.compile(rb"^thread '[^'\n]*'[^\n]* panicked at ")
# The last line, when the failure was reported: what was held back is then dropped.
_REPORTED: Final = b"\0reported"
_BLOCK_BYTES: Final = 65_536


@contextmanager
def panics_held_back() -> Iterator[Callable[[], None]]:
    """Within the block native code writes to a filter; `sys.stderr` stays what it was. Forks: call it before any thread
    exists.

    The callable that it gives says that the failure was reported. Otherwise the filter shows what it held back when this
    process ends, however it ends.
    """
    try:
        own = os.dup(STDERR)
    except OSError:  # closed by the caller: nothing is shown at all
        yield lambda: None
        return
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _filter(reader, own, unused=(writer, STDIN, STDOUT, STDERR))
    os.close(reader)
    former = sys.stderr
    sys.stderr = open(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - a descriptor, until the end
    os.dup2(writer, STDERR)
    os.close(writer)

    def reported() -> None:
        os.write(STDERR, b"\n" + _REPORTED + b"\n")

    try:
        yield reported
    finally:
        sys.stderr.flush()
        sys.stderr = former
        os.dup2(own, STDERR)
        os.close(own)
        os.waitpid(child, 0)


def _filter(source: int, target: int, unused: tuple[int, ...]) -> None:
    """The child process: reads until the other end is closed, by the parent or by its death. Never returns."""
    try:
        for each in unused:
            os.close(each)
        held, rest = b"", b""
        while block := os.read(source, _BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if line == _REPORTED:
                    held = b""
                elif held or _PANIC.match(line):
                    held += line + b"\n"
                elif line:
                    _write(target, line + b"\n")
        _write(target, held + rest)
    finally:
        os._exit(0)


def _write(target: int, text: bytes) -> None:
    with suppress(OSError):  # the terminal is gone
        while text:
            text = text[os.write(target, text) :]
