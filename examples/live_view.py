"""What `make live` shows: a row per answer, a line per control event; colours in a terminal, none in a pipe."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

STYLES = {"create": "green", "reuse": "cyan", "buffer": "yellow", "isolate": "magenta"}
NAME_WIDTH = 24
PLACE_WIDTH = 19
PIPE_WIDTH = 160


class View:
    """A console with the few sentences of this program."""

    def __init__(self) -> None:
        piped = not sys.stdout.isatty()
        plain = piped or bool(os.environ.get("NO_COLOR"))
        self.console = Console(width=PIPE_WIDTH if piped else None, highlight=False, no_color=plain)

    def say(self, text: str, style: str = "") -> None:
        """One line, at once, also into a pipe."""
        self.console.print(escape(text.rstrip()), style=style or None, soft_wrap=True)
        self.console.file.flush()

    def head(self) -> None:
        """Over the rows."""
        actions = "  ".join(f"{action:>7}" for action in STYLES)
        self.say(
            f"{'strategy':{NAME_WIDTH}}{'world.domain':{PLACE_WIDTH}}{'':4}{actions}       ms",
            "bold underline",
        )

    def answer(self, name: str, place: str, answer: dict[str, Any], took_ms: float, note: str) -> None:
        """One row: what was sent, what became of its nodes, how long that took."""
        if answer["status"] != "ok":
            error = answer["error"]
            self.say(f"{name:{NAME_WIDTH}}{place:{PLACE_WIDTH}}{error['code']}: {error['message']}", "red")
            return
        counts = "  ".join(
            f"[{STYLES[action] if count else 'dim'}]{count or '·':>7}[/]"
            for action, count in answer["actions"].items()
        )
        notes = ", ".join(
            filter(None, (note, f"isolated: {answer['safe_mode']}" if answer["safe_mode"] else ""))
        )
        self.console.print(
            f"{name:{NAME_WIDTH}}{place:{PLACE_WIDTH}}{answer['version']:4}{counts}  {took_ms:7.1f}  [dim]{notes}[/]",
            soft_wrap=True,
        )
        self.console.file.flush()

    def event(self, event: dict[str, Any]) -> None:
        """One line about a control event."""
        self.say(f"  {told(event)}", "dim")


def told(event: dict[str, Any]) -> str:
    """An event in words."""
    place = ".".join(filter(None, (event.get("world_id"), event.get("execution_domain"))))
    if event["type"] == "QueueUpdated":
        tags = ", ".join(event["tags"]) or "no tags"
        count = len(event["queues"])
        queues = f"{count} queue{'s' * (count != 1)}"
        return f"queues of ({tags}) every {event['interval']} s in {place}: {queues}, revision {event['revision']}"
    if event["type"] == "SentinelWeightUpdated":
        return f"weight of {event['sentinel_id']} {event['sentinel_version']} is {event['weight']:g}"
    return f"{event['type']} {event.get('queue', '')}"
