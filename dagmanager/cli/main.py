"""The command line's door: finds the command, runs it, turns whatever happens into words and an exit code.

`qmtl service dagmanager CMD` and `dagmanager CMD` are the same. Nothing heavy is imported here: each
command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.command_table import DAGMANAGER, QMTL, Command, Group
from dagmanager.cli.framework.error_report import EXIT_CODES_TEXT, CommandError, Exit, Report, usage
from dagmanager.cli.framework.output import meant, note, visible, write_json


class Program(NamedTuple):
    """One of our two names; `prefix` is what stands before a command of the DAG Manager."""

    name: str
    prefix: str
    commands: Group


def qmtl(words: Sequence[str] | None = None) -> int:
    """The `qmtl` command."""
    return _run(Program("qmtl", "qmtl service dagmanager", QMTL), sys.argv[1:] if words is None else words)


def dagmanager(words: Sequence[str] | None = None) -> int:
    """The `dagmanager` command."""
    return _run(Program("dagmanager", "dagmanager", DAGMANAGER), sys.argv[1:] if words is None else words)


def _run(program: Program, words: Sequence[str]) -> int:
    if sys.stderr is None:
        sys.stderr = _nowhere()
    if sys.stdout is None:
        sys.stdout = _nowhere()
        note("error[usage]: stdout is closed: there is nowhere to write results")
        return Exit.USAGE
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    debug, as_json = "--debug" in words, "--json" in words
    try:
        code = _guarded(program, words, debug, as_json)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whatever is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.READER_LEFT
    except OSError as error:
        note(f"error[unreadable_file]: cannot write results: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.USAGE


def _guarded(program: Program, words: Sequence[str], debug: bool, as_json: bool) -> int:
    try:
        return _dispatch(program.name, program.commands, words)
    except SystemExit as done:  # argparse, after --help
        return done.code if isinstance(done.code, int) else Exit.FINE
    except KeyboardInterrupt:
        note("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost door: people get words, --debug gets the rest
        if debug:
            import traceback

            traceback.print_exc()
        report = _report_of(error)
        if as_json:
            write_json(report.as_json())
        else:
            note(_painted(report.as_text(program.prefix)))
        return report.exit


def _dispatch(prog: str, commands: Group, words: Sequence[str]) -> int:
    """Follow the words down to a command and run it with the rest."""
    rest = [word for word in words if word != "--debug"] if words[:1] == ["--debug"] else list(words)
    if not rest or rest[0] in ("-h", "--help"):
        print(_overview(prog, commands))
        return Exit.FINE if rest else Exit.USAGE
    if rest[0] == "--version":
        from importlib.metadata import version

        print(f"{prog} {version('qmtl-dagmanager')}")
        return Exit.FINE
    entry = commands.entries.get(rest[0])
    if entry is None:
        near = meant(rest[0], commands.entries)
        hints = [f"did you mean `{near}`?"] if near else []
        raise usage(f"`{visible(rest[0])}` is no command of `{prog}`", *hints, f"help: {prog} --help")
    prog = f"{prog} {rest[0]}"
    if isinstance(entry, Group):
        return _dispatch(prog, entry, rest[1:])
    return run_command(prog, entry, rest[1:])


def run_command(prog: str, command: Command, words: Sequence[str]) -> int:
    """Parse the command's own words and run it."""
    module = command.load()
    parser = Parser(prog, command.summary)
    module.add_arguments(parser)
    return module.run(parser.parse(words))


def _overview(prog: str, group: Group) -> str:
    lines = [f"usage: {prog} COMMAND [--help]", "", group.summary, "", "commands:"]
    width = max(len(name) for name in group.entries)
    lines += [f"  {name:<{width}}  {entry.summary}" for name, entry in group.entries.items()]
    lines += ["", "options:", "  --help     show this; each command has its own, with examples"]
    lines += ["  --version  the installed version", "  --debug    show tracebacks", ""]
    lines += ["examples:", *(f"  {prog} {example}" for example in group.examples), "", EXIT_CODES_TEXT]
    return "\n".join(lines)


def _report_of(error: Exception) -> Report:
    """One table of what may be raised; anything else is a fault of ours."""
    if isinstance(error, CommandError):
        return error.report
    from dagmanager.errors import SettingsError, UnavailableError

    if isinstance(error, SettingsError):
        hint = "`config validate` shows each with its place"
        return Report("settings", str(error), Exit.USAGE, notes=(hint,))
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        return Report("unreadable_file", f"cannot read or write: {words}", Exit.USAGE)
    if isinstance(error, UnavailableError):
        return Report("unavailable", str(error), Exit.SERVER_AWAY)
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes = ("this is a fault of the program: please report it, with what --debug shows",)
    return Report("internal", words, Exit.INTERNAL, notes=notes)


def _painted(text: str) -> str:
    from dagmanager.cli.framework.output import is_decorated

    head, colon, rest = text.partition(":")
    return f"\x1b[1;31m{head}{colon}\x1b[0m{rest}" if is_decorated(sys.stderr) else text


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - stands in for a stream, until the end
