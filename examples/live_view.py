"""What `make live` shows: a row per answer, a line per control event; colours in a terminal, none in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagmanager.terminal.progress import StatusLine, progress, seconds_so_far
from dagmanager.terminal.report import Report, show
from dagmanager.terminal.table import STYLES
from dagmanager.terminal.text import columns, painted, shortened, visible, wrapped

ACTIONS = ("create", "reuse", "buffer", "isolate")
NAME_WIDTH = 22
PLACE_WIDTH = 17
DIM = "2"


class View:
    """Writes rows that come one after the other: their columns have a fixed width, 79 in all."""

    def __init__(self) -> None:
        self._status = StatusLine(sys.stdout)

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
        actions = " ".join(ACTIONS)
        self.say(f"\n{'strategy':{NAME_WIDTH}} {'world.domain':{PLACE_WIDTH}}    {actions} {'ms':>6}", "1")

    def answer(self, name: str, place: str, answer: dict[str, Any], took_ms: float, note: str) -> None:
        """One row: what was sent, the actions of its nodes, how long that took; notes below it."""
        row = f"{shortened(visible(name), NAME_WIDTH):{NAME_WIDTH}} {shortened(place, PLACE_WIDTH):{PLACE_WIDTH}} "
        if answer["status"] != "ok":
            error = answer["error"]
            self.say(f"{row}error[{error['code']}]: {visible(error['message'])}", "31")
            return
        counts = " ".join(
            painted(f"{count or '·':>{len(action)}}", STYLES[action] if count else DIM, sys.stdout)
            for action, count in answer["actions"].items()
        )
        self._print(f"{row}{answer['version']:2} {counts} {took_ms:6.0f}")
        isolated = f"isolated: {answer['safe_mode']}" if answer["safe_mode"] else ""
        if notes := ", ".join(filter(None, (note, isolated))):
            self.say(f"  {notes}", DIM)

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
