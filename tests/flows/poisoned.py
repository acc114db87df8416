"""The runner as a process in which some strategies' records are deadly: `python -m tests.flows.poisoned STEP HOW WHOM …`.

HOW is `kill` (no Python code runs any more), `raise`, `kill after` (the step's work is done), `once` (kill while
the file `once` is in the working folder, which goes first) or `away` (a store is unreachable while the file `away` is).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import sinks.dead_letters
import sinks.diff_chunks
from dagmanager.dag.model import Record
from dagmanager.engine.engine import Engine
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Refused
from dagmanager.engine.wire.message import Message
from dagmanager.errors import UnavailableError
from flows.run import main
from sinks.json_lines import JsonLinesPartition

# Where a step's work is done.
STEPS: Final[dict[str, tuple[object, str]]] = {
    "canonicalize": (Reader, "canonicalize"),
    "hash": (Reader, "hash"),
    "lookup": (Engine, "lookup"),
    "classify": (Engine, "classify"),
    "upsert": (Engine, "claim"),
    "finish": (Engine, "advance"),
    "diffs": (sinks.diff_chunks, "_line"),
}
SINKS: Final[dict[str, tuple[object, str]]] = {
    "dead_letters": (sinks.dead_letters, "dead_letter_line"),
    "append": (JsonLinesPartition, "_append"),
}


def strategy_of(item: Any) -> str:
    if isinstance(item, Refused | bytes):
        return ""  # it only passes by, or is many
    if isinstance(item, Record):
        return (item.key or b"").decode()
    if isinstance(item, Message):
        return "" if b"quarantined" in item.value or not item.value else item.key
    holder = getattr(item, "envelope", None) or getattr(item, "submission", item)
    return str(holder.strategy_id)


def die(how: str) -> None:
    if how == "raise":
        raise KeyError("a fault of ours")
    if how == "away":
        if Path("away").exists():
            raise UnavailableError("the store is unreachable")
        return
    if how == "once":
        if not Path("once").exists():
            return
        Path("once").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(call: Callable[..., Any], how: str, whom: Sequence[str]) -> Callable[..., Any]:
    def step(*given: Any, **more: Any) -> Any:
        items = given[-1] if isinstance(given[-1], list) else [given[-1]]
        meant = any(strategy_of(each) in whom for each in items)
        if meant and how != "kill after":
            die(how)
        result = call(*given, **more)
        if meant and how == "kill after":
            die(how)
        return result

    return step


if __name__ == "__main__":
    name, chosen, victims, *options = sys.argv[1:]
    room, where = (STEPS | SINKS)[name]
    setattr(room, where, deadly(getattr(room, where), chosen, victims.split(",")))
    sys.exit(main(options))
