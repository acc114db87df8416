"""What `make live` shows: a row per answer, a line per control event; colours in a terminal, none in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagmanager.terminal.progress import StatusLine, progress, seconds_so_far
from dagmanager.terminal.report import Report, show
from dagmanager.terminal.table import STYLES, Heading, layout
from dagmanager.terminal.text import columns, painted, visible, wrapped

ACTIONS = ("create", "reuse", "buffer", "isolate")
# Rows come one after the other, so that widths are fixed before: 79 columns in all, for the names of this folder.
HEADS = (
    Heading("strategy", narrowest=14),
    Heading("world.domain", narrowest=12),
    Heading("ver"),
    *(Heading(action, right=True) for action in ACTIONS),
    Heading("ms", right=True),
)
WIDTHS = (22, 17, 3, *map(len, ACTIONS), 6)
DIM = "2"


class View:
    """Writes rows that come one after the other, in columns that fit the terminal; `wide`: 79 columns at any width."""

    def __init__(self, *, wide: bool = False) -> None:
        self._status = StatusLine(sys.stdout)
        self._layout = layout(HEADS, WIDTHS, None if wide else columns(), gap=" ")

    def say(self, text: str, style: str = "") -> None:
        """One line at once, wrapped at words."""
        self._print(painted(wrapped(text.rstrip(), columns(), "    "), style, sys.stdout))

    def fail(self, code: str, message: str, *notes: str) -> None:
        """An error, as the commands show theirs."""
        show(Report(code, message, notes=notes), stream=sys.stdout)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """On a terminal, what is waited for and for how long."""
        with progress(seconds_so_far(f"  waiting for {what}"), self._status):
            yield

    def _print(self, text: str) -> None:
        with self._status.cleared():
            print(text, flush=True)

    def head(self) -> None:
        """Above the rows."""
        self._rows(self._layout.head, "1", before="\n")

    def answer(self, name: str, place: str, answer: dict[str, Any], took_ms: float, note: str) -> None:
        """One row: what was sent, the actions of its nodes, how long that took; notes below it."""
        if answer["status"] != "ok":
            error = answer["error"]
            self._rows(self._layout.lines((name, place, *[""] * (len(HEADS) - 2))), "31")
            self.say(f"  error[{error['code']}]: {visible(error['message'])}", "31")
            return
        counts = [answer["actions"][action] for action in ACTIONS]
        row = (name, place, answer["version"], *(str(count or "·") for count in counts), f"{took_ms:.0f}")
        main = next(
            (action for action in ("create", "isolate", "buffer", "reuse") if answer["actions"][action]), ""
        )
        self._rows(self._layout.lines(row), STYLES.get(main, ""))
        isolated = f"isolated: {answer['safe_mode']}" if answer["safe_mode"] else ""
        if notes := ", ".join(filter(None, (note, isolated))):
            self.say(f"  {notes}", DIM)

    def _rows(self, lines: Sequence[str], style: str, before: str = "") -> None:
        self._print(before + "\n".join(painted(line, style, sys.stdout) for line in lines))

    def event(self, event: dict[str, Any]) -> None:
        """One line about a control event."""
        self.say(f"  {event_line(event)}", DIM)


def event_line(event: dict[str, Any]) -> str:
    """An event in words."""
    place = ".".join(filter(None, (event.get("world_id"), event.get("execution_domain"))))
    if event["type"] == "QueueUpdated":
        tags = ", ".join(event["tags"]) or "no tags"
        found = f"{len(event['queues'])}, revision {event['revision']}"
        return f"topics of ({tags}), {event['interval']} s, {place}: {found}"
    if event["type"] == "SentinelWeightUpdated":
        return f"weight of {event['sentinel_id']} {event['sentinel_version']} is {event['weight']:g}"
    return f"{event['type']} {event.get('queue', '')}"
