"""What the installed commands call: until the door is open, an interrupt ends the process without a word.

`signal` itself takes ten milliseconds to import, in which an interrupt would be a traceback; what it is made
of is part of the interpreter.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the interpreter's own, without a stub


def qmtl() -> int:
    """The `qmtl` command."""
    _quietly_opened()
    from dagmanager.cli import main

    _told_from_now_on()
    return main.qmtl()


def dagmanager() -> int:
    """The `dagmanager` command."""
    _quietly_opened()
    from dagmanager.cli import main

    _told_from_now_on()
    return main.dagmanager()


def _quietly_opened() -> None:
    """A shell reports the signal as 130. One that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _told_from_now_on() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
