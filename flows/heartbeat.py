"""The heartbeat file, written by a thread that calls no store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dagmanager.disk.replace_file import replace_file

logger = logging.getLogger("dagmanager.flow")

EVERY_S: Final = 2.0


class Heartbeat:
    """A file for health checks: its age shows whether the process is alive, its text (`ok`) whether it waits."""

    def __init__(self, path: Path, text: Callable[[], str]) -> None:
        """`text` returns the content of the file; it must not block. Nothing is written yet."""
        self._path = path
        self._text = text

    def write(self) -> None:
        """Replace the file in one step. An error is logged, not raised."""
        try:
            # Not durable: its age means nothing after a power cut.
            replace_file(self._path, f"{self._text()}\n".encode(), durable=False)
        except OSError as error:
            logger.warning("the heartbeat cannot be written: %s", error)

    @contextmanager
    def beating(self, seconds: float) -> Iterator[None]:
        """Written at once and every `seconds`, at most 2, within the block; during an outage too, which a restart would not
        end."""
        over = threading.Event()

        def repeat() -> None:
            self.write()
            while not over.wait(min(seconds, EVERY_S)):
                self.write()

        thread = threading.Thread(target=repeat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=seconds)
