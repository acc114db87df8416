"""An error or a warning for people and for machines, and the exit codes: one style for every command.

    error[code]: what is wrong
      --> file:line:column  /pointer
    12 | the line of the file
       |          ^^^^
      help: what to do

May not live here: finding the place in a file, anything slow to import.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, Literal, NamedTuple, TextIO

from dagmanager.terminal.text import columns_of, display_width, is_decorated, shortened, visible, wrapped


class Exit(IntEnum):
    """How a command ends; scripts rely on these."""

    FINE = 0
    REFUSED = 1
    USAGE = 2
    DIFFERS = 3
    UNREACHABLE = 4
    INTERNAL = 70
    INTERRUPTED = 130
    READER_LEFT = 141


EXIT_CODES_TEXT: Final = """\
exit codes:
  0   success
  1   refused: the input is invalid (see `explain-error CODE`)
  2   usage: arguments or settings are invalid, or a file cannot be read
  3   differences found, with `--exit-code`
  4   a server or a store is unreachable, or a disk is full
  70  internal error
  130 interrupted
  141 the reader of a pipe is gone"""

# Besides errors.ErrorCode: what can go wrong before there is a submission.
COMMAND_LINE_CODES: Final = (
    "usage",
    "unreadable_file",
    "settings",
    "database",
    "input_lost",
    "internal",
    "log_incomplete",
    "shared_database",
)
PROGRAM: Final = "dagmanager"  # the command that explains codes
_UNEXPLAINED: Final = ("usage", "internal")  # their message says all that the page says
_SOURCE_MARGIN: Final = 8


class Report(NamedTuple):
    """One error or warning. `line` and `column` count from 1; 0 is unknown.

    `source` is the line of the file (or a window of it) and `caret` where in it, `width` wide. `notes` are
    facts, `helps` say what to do. `error` is the JSON form, if the other fields do not give it.
    """

    code: str
    message: str
    exit: Exit = Exit.REFUSED
    level: Literal["error", "warning"] = "error"
    file: str = ""
    line: int = 0
    column: int = 0
    pointer: str = ""
    source: str = ""
    caret: int = 0
    width: int = 1
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None

    def place(self) -> str:
        """`file:line:column`, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def as_json(self) -> dict[str, Any]:
        """`error` in the shape of docs/semantics.md 10, and its location."""
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

    def as_text(self, program: str = "", width: int | None = None) -> str:
        """For people, wrapped at words to `width` columns; `program` names the command that explains codes."""
        first, *more = self.message.splitlines() or [""]
        lines = [f"{self.level}[{self.code}]: {visible(first)}", *(f"  {visible(each)}" for each in more)]
        pointer = f"  {visible(self.pointer)}" if self.pointer else ""
        place = (
            [shortened(f"  --> {visible(self.place())}{pointer}", width or sys.maxsize)] if self.file else []
        )
        body = [f"  {visible(each)}" for each in self.notes]
        body += [f"  help: {visible(each)}" for each in self.helps]
        if program and self.code not in _UNEXPLAINED:
            body.append(f"  help: `{program} explain-error {self.code}` explains this code")
        return "\n".join(
            [
                *(wrapped(line, width, "    ") for line in lines),
                *place,
                *self._excerpt(width),
                *(wrapped(line, width, "    ") for line in body),
            ]
        )

    def _excerpt(self, width: int | None) -> list[str]:
        """The line of the file and the caret; of a line that is too long, the part around the caret."""
        if not self.source:
            return []
        source, caret = self.source, self.caret
        room = None if width is None else width - _SOURCE_MARGIN
        if room is not None and len(source) > room:
            cut = max(0, min(caret - room // 3, len(source) - room))
            source, caret = source[cut : cut + room], caret - cut
        number = str(self.line)
        before = " " * display_width(visible(source[:caret]))
        marked = source[caret : caret + self.width]
        marks = "^" * max(1, display_width(visible(marked)))
        return [f"{number} | {visible(source)}", f"{' ' * len(number)} | {before}{marks}"]


class CommandError(Exception):
    """Ends the command; raised by commands, shown by the program only.

    `findings` are shown to people instead of `report` where it sums up several; JSON has `report`.
    """

    def __init__(self, report: Report, findings: tuple[Report, ...] = ()) -> None:
        """Carry the whole report."""
        super().__init__(report.message)
        self.report = report
        self.findings = findings or (report,)


def usage(message: str, *helps: str) -> CommandError:
    """The command was called wrongly."""
    return CommandError(Report("usage", message, Exit.USAGE, helps=helps))


def show(report: Report, program: str = "", stream: TextIO | None = None) -> None:
    """Write it to stderr (or `stream`): wrapped and coloured on a terminal."""
    out = sys.stderr if stream is None else stream
    head, colon, rest = report.as_text(program, columns_of(out)).partition(":")
    style = "1;31" if report.level == "error" else "1;33"
    shown = f"\x1b[{style}m{head}{colon}\x1b[0m{rest}" if is_decorated(out) else f"{head}{colon}{rest}"
    out.write(shown + "\n")


def report_of(error: Exception) -> Report:
    """What each exception means to the person who called; anything unknown is an internal error."""
    from dagmanager.errors import InputLostError, SettingsError, StoreRefusedError, UnavailableError

    match error:
        case CommandError():
            return error.report
        case SettingsError():
            return Report("settings", str(error), Exit.USAGE)
        case UnavailableError():
            return Report("unavailable", str(error), Exit.UNREACHABLE)
        case StoreRefusedError():
            return Report("database", str(error))
        case InputLostError():
            return Report("input_lost", str(error))
        case OSError():
            named = f" {error.filename}" if error.filename else ""
            words = error.strerror or str(error)
            return Report("unreadable_file", f"cannot read or write{named}: {words}", Exit.USAGE)
    return internal_error(error)


def internal_error(error: BaseException) -> Report:
    """A defect of this program."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    helps = ("this is a bug of the program: please report it with the output of --debug",)
    return Report("internal", words, Exit.INTERNAL, helps=helps)
