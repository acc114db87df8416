"""SIGINT, SIGTERM and SIGHUP (the terminal was closed): the first lets the run end in order, the second ends it at once.

A thread waits for them. Python's own handlers run in the main thread, which may be inside of a client for half a minute.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from flows.stop import Stop

logger = logging.getLogger("dagmanager.flow")

SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
# How often the thread looks whether it is to end; a signal itself wakes it at once.
LOOK_S: Final = 0.5
NAMES: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


def nothing() -> None:
    """For runs that need no action."""


class StopSignals:
    """What a run does at a signal. The attributes are set before or while `handled` runs; calls come from its thread.

    `waiting_steps` are the steps that wait for a store. `interrupted` is called at each signal, before anything else.
    `abort` is called right before the process ends by a second signal.
    """

    def __init__(self, stop: Stop) -> None:
        """`stop` is set by the first signal."""
        self.stop = stop
        self.waiting_steps: Callable[[], list[str]] = list
        self.interrupted: Callable[[], None] = nothing
        self.abort: Callable[[], None] = nothing

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Signals are handled within the block. Enter it in the main thread before other threads start: they inherit
        that signals do not interrupt them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        # Python's handler of SIGINT would only interrupt the main thread.
        handlers = {each: signal.signal(each, signal.SIG_DFL) for each in SIGNALS if not _is_ignored(each)}
        over = threading.Event()
        thread = threading.Thread(target=self._listen, args=(over,), name="signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            for each, handler in handlers.items():
                signal.signal(each, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _listen(self, over: threading.Event) -> None:
        while not over.is_set():
            found = signal.sigtimedwait(SIGNALS, LOOK_S)
            if found is not None:
                self._handle(signal.Signals(found.si_signo))

    def _handle(self, number: signal.Signals) -> None:
        self.interrupted()
        if not self.stop.is_set():
            self.stop.set()
            steps = ", ".join(self.waiting_steps())
            logger.warning(
                "%s: stopping. Nothing more is read; records that were read are answered first%s. "
                "Ctrl-C or SIGTERM again aborts at once",
                NAMES[number],
                f" (waiting for a store: {steps})" if steps else "",
            )
            return
        logger.warning("%s: aborted; records that were read may be unanswered", NAMES[number])
        self.abort()
        # The default action: a supervisor sees which signal ended the process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.raise_signal(number)


def _is_ignored(number: signal.Signals) -> bool:
    """`nohup` ignores SIGHUP for its command; that an SIGINT is ignored is an accident of shells (`command &`)."""
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
