"""What goes wrong at the command line: exit codes, and one way to say it to people and to machines.

May not live here: finding the place in a file (`place`), anything slow to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from dagmanager.cli.framework.output import visible, wide


class Exit(IntEnum):
    """How a command ends; scripts rely on these."""

    FINE = 0
    REFUSED = 1
    USAGE = 2
    DIFFERS = 3
    SERVER_AWAY = 4
    INTERNAL = 70
    INTERRUPTED = 130
    READER_LEFT = 141


EXIT_CODES_TEXT: Final = """\
exit codes:
  0  fine
  1  refused: the input does not hold (see `explain-error CODE`)
  2  usage: arguments, settings or a file that cannot be read
  3  differs, where `--exit-code` asks
  4  a server or a store is away, or a disk is full
  70 a fault of this program, 130 interrupted, 141 the reader of a pipe went away"""

# Besides errors.ErrorCode: what can go wrong before there is a submission.
COMMAND_LINE_CODES: Final = ("usage", "unreadable_file", "settings", "database", "internal")


class Report(NamedTuple):
    """One error with all that helps to mend it. `line` and `column` count from 1; 0 is unknown.

    `source` is the line of the file (or a window of it) and `caret` where in it, `width` wide.
    """

    code: str
    message: str
    exit: Exit = Exit.REFUSED
    file: str = ""
    line: int = 0
    column: int = 0
    pointer: str = ""
    source: str = ""
    caret: int = 0
    width: int = 1
    notes: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None

    def place(self) -> str:
        """`file:line:column`, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def as_json(self) -> dict[str, Any]:
        """`error` in the shape shared by every door (docs/semantics.md 10), and where it is."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "field": self.pointer or None,
            "node_id": None,
            "expected": None,
            "got": None,
            "details": [],
        }
        location = None
        if self.file:
            pointer = self.pointer or None
            location = {"file": self.file, "line": self.line, "column": self.column, "pointer": pointer}
        return {"error": dict(self.error or error), "location": location}

    def as_line(self) -> str:
        """For one of many: `place: error[code]: message`."""
        place = f"{visible(self.place())}: " if self.file else ""
        pointer = f" ({visible(self.pointer)})" if self.pointer else ""
        return f"{place}error[{self.code}]: {visible(self.message)}{pointer}"

    def as_text(self, prefix: str) -> str:
        """For people: message, place, the text with a caret, what to do. `prefix` names the program."""
        told, *more = self.message.splitlines() or [""]
        lines = [f"error[{self.code}]: {visible(told)}", *(f"  {visible(each)}" for each in more)]
        if self.file:
            lines.append(
                f"  --> {visible(self.place())}{'  ' + visible(self.pointer) if self.pointer else ''}"
            )
        if self.source:
            number = str(self.line)
            before = " " * wide(visible(self.source[: self.caret]))
            marks = "^" * max(1, wide(visible(self.source[self.caret : self.caret + self.width])))
            lines.append(f"{number} | {visible(self.source)}")
            lines.append(f"{' ' * len(number)} | {before}{marks}")
        lines += [f"  {visible(note)}" for note in self.notes]
        if self.code not in ("usage", "internal"):
            lines.append(f"  more: {prefix} explain-error {self.code}")
        return "\n".join(lines)


class CommandError(Exception):
    """Ends the command with a report; raised by commands, shown by `main` only."""

    def __init__(self, report: Report) -> None:
        """Carry the whole report."""
        super().__init__(report.message)
        self.report = report


def usage(message: str, *notes: str) -> CommandError:
    """The command was called wrongly."""
    return CommandError(Report("usage", message, Exit.USAGE, notes=notes))
