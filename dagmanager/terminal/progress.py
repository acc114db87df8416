"""One line on a terminal that shows how far something long has come; nothing in a pipe."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from dagmanager.terminal.text import columns, columns_of, shortened, wrapped

_CLEAR: Final = "\r\x1b[K"
FIRST_SECONDS: Final = 1.0  # what is shorter needs no progress
EVERY_SECONDS: Final = 0.5


class StatusLine:
    """The line, and the lock that keeps other output apart from it. Safe between threads."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` gets the line if it is a terminal."""
        self.stream = stream
        self.is_shown = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self.is_shown:
            with self._lock:
                self.stream.write(_CLEAR + shortened(text, columns() - 1))
                self.stream.flush()

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Other output may be written within: the line is gone until it is shown again."""
        with self._lock:
            if self.is_shown:
                self.stream.write(_CLEAR)
            yield
            self.stream.flush()


class StatusHandler(logging.StreamHandler[TextIO]):
    """Log lines on the stream of a status line."""

    def __init__(self, status: StatusLine) -> None:
        """Write to the stream of `status`."""
        super().__init__(status.stream)
        self._status = status

    def format(self, record: logging.LogRecord) -> str:
        """Wrapped at words on a terminal."""
        return wrapped(super().format(record), columns_of(self.stream), "  ")

    def emit(self, record: logging.LogRecord) -> None:
        """One line, where the status line was."""
        with self._status.cleared():
            super().emit(record)


def seconds_so_far(what: str) -> Callable[[], str]:
    """A text for `progress`, where nothing can be counted: `what` and the seconds since this call."""
    began = time.monotonic()
    return lambda: f"{what}: {time.monotonic() - began:.0f} s"


@contextmanager
def progress(text: Callable[[], str], status: StatusLine | None = None) -> Iterator[StatusLine]:
    """Show `text()` twice a second while the body runs, from its first second on. `text` runs in a thread."""
    line = StatusLine(sys.stderr) if status is None else status
    over = threading.Event()

    def repeat() -> None:
        seconds = FIRST_SECONDS
        while not over.wait(seconds):
            line.show(text())
            seconds = EVERY_SECONDS

    if not line.is_shown:
        yield line
        return
    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield line
    finally:
        over.set()
        thread.join()
        with line.cleared():
            pass
