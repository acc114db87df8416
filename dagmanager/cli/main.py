"""The command line: finds the command, runs it, turns whatever is raised into a report and an exit code.

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
from dagmanager.terminal.pipe import until_reader_leaves
from dagmanager.terminal.report import (
    EXIT_CODES_TEXT,
    CommandError,
    Exit,
    Report,
    report_of,
    show,
    usage,
)
from dagmanager.terminal.text import columns, nearest, visible, wrapped, write_json


class Program(NamedTuple):
    """One of the two installed names; `prefix` comes before a command of the DAG Manager."""

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
        sys.stderr = _null_stream()
    if sys.stdout is None:
        sys.stdout = _null_stream()
        show(Report("usage", "stdout is closed: results cannot be written", Exit.USAGE))
        return Exit.USAGE
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        return until_reader_leaves(lambda: _guarded(program, words))
    except OSError as error:
        show(Report("unreadable_file", f"cannot write to stdout: {error.strerror}", Exit.USAGE))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.USAGE


def _guarded(program: Program, words: Sequence[str]) -> int:
    try:
        return _dispatch(program.name, program.commands, words)
    except SystemExit as done:  # argparse, after --help
        return done.code if isinstance(done.code, int) else Exit.FINE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost caller: people get a report, --debug the traceback
        if "--debug" in words:
            import traceback

            traceback.print_exc()
        report = report_of(error)
        if "--json" in words:
            write_json(report.as_json())
        else:
            for each in error.findings if isinstance(error, CommandError) else (report,):
                show(each, program.prefix)
        return report.exit


def _dispatch(prog: str, commands: Group, words: Sequence[str]) -> int:
    """Follow the words down to a command and run it with the rest."""
    rest = [word for word in words if word != "--debug"] if words[:1] == ["--debug"] else list(words)
    if not rest or rest[0] in ("-h", "--help") or rest == ["help"]:
        sys.stdout.write(_overview(prog, commands) + "\n")
        return Exit.FINE if rest else Exit.USAGE
    if rest[0] == "help":  # `help diff` is `diff --help`
        rest = [*rest[1:], "--help"]
    if rest[0] in ("-V", "--version", "version"):
        from importlib.metadata import version

        sys.stdout.write(f"{prog} {version('qmtl-dagmanager')}\n")
        return Exit.FINE
    entry = commands.entries.get(rest[0])
    if entry is None:
        near = nearest(rest[0], commands.entries)
        hints = [f"did you mean `{near}`?"] if near else []
        raise usage(f"unknown command `{visible(rest[0])}`", *hints, f"`{prog} --help` lists the commands")
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
    lines = [f"usage: {prog} COMMAND [--help]", "", wrapped(group.summary, columns()), "", "commands:"]
    width = max(len(name) for name in group.entries)
    lines += [
        wrapped(f"  {name:<{width}}  {entry.summary}", columns(), " " * (width + 4))
        for name, entry in group.entries.items()
    ]
    lines += ["", "options:", "  --help         show this; each command has its own, with examples"]
    lines += ["  --version, -V  show the installed version", "  --debug        show tracebacks", ""]
    lines += ["examples:", *(f"  {prog} {example}" for example in group.examples)]
    if group in (QMTL, DAGMANAGER):  # once for all commands
        lines += ["", EXIT_CODES_TEXT]
    return "\n".join(lines)


def _null_stream() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - replaces a stream, until the end
