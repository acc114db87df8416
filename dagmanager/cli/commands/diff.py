"""`diff`: what submitting a DAG would do, from files alone; nothing is written.

May not live here: the decision itself (`diff_engine`), how it looks (`diff_text`).
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Final

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.cli.explain.diff_request import DiffRequest
    from dagmanager.settings.table import Settings


MISSPELT_MAX: Final = 5  # notes per file


def add_arguments(parser: Parser) -> None:
    """Files, context, form of the answer."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the submission or DAG; `-` is stdin")
    parser.add_argument("--file", dest="named_file", metavar="FILE", help="the same as FILE")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="FILE",
        help="an earlier submission of the same lineage; may be repeated, the last is the previous version",
    )
    parser.add_argument(
        "--store",
        metavar="FILE",
        help="compare with the SQLite store of a flow (its memory_repo_path), read-only",
    )
    parser.add_argument("--world", metavar="W", help="world_id, if the file has none")
    parser.add_argument("--domain", metavar="D", help="execution domain, if the file has none (default live)")
    parser.add_argument("--as-of", metavar="T", help="as_of of a backtest or dry run")
    parser.add_argument("--partition", metavar="P", help="partition of the context")
    parser.add_argument("--strategy", metavar="S", help="strategy_id, if the file has none")
    parser.add_argument("--explain", action="store_true", help="explain each reason and each warning")
    parser.add_argument(
        "--all",
        action="store_true",
        help="show unchanged nodes also where there are more than 10, and every warning also where more than 5 have one code",
    )
    parser.add_argument("--wide", action="store_true", help="show ids and digests, at any width")
    parser.add_argument("--exit-code", action="store_true", help="exit 3 if a run would change anything")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything as one JSON object")
    form.add_argument("--markdown", action="store_true", help="everything as Markdown, for a pull request")
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.examples(
        "{prog} dag.json",
        "{prog} new.json --baseline old.json --explain",
        "{prog} new.json --store dagmanager.sqlite",
        "{prog} new.json --baseline old.json --markdown > comment.md",
        "{prog} new.json --baseline old.json --exit-code --json",
        "{prog} dag.json --world w1 --domain backtest --as-of 2026-01-01",
    )


def run(args: argparse.Namespace) -> int:
    """0, 3 with `--exit-code` when anything differs, 1 when a file is refused."""
    from dagmanager.cli.explain import diff_text
    from dagmanager.terminal.report import Exit
    from dagmanager.terminal.settings_report import load_settings
    from dagmanager.terminal.text import note, write_json

    settings = load_settings(args.config, os.environ, offline=True)
    request = _request(args, settings.submission_bytes_max)
    if settings.neo4j_dsn and args.store is None:
        note("note: only the given files are compared; the graph at neo4j_dsn is not read")
    found = _decided(request, settings)
    _note_misspelt(request)
    if args.json:
        write_json(found, indent=2)
    elif args.markdown:
        print(diff_text.markdown(found, explain=args.explain))
    else:
        diff_text.show(found, diff_text.Detail(args.explain, args.all, args.wide))
    return Exit.DIFFERS if args.exit_code and diff_text.differs(found) else Exit.FINE


def _request(args: argparse.Namespace, bytes_max: int) -> DiffRequest:
    from dagmanager.cli.explain.diff_request import DiffRequest, InputFile
    from dagmanager.cli.framework.input_file import read_input
    from dagmanager.terminal.report import usage

    if args.store is not None and args.baseline:
        raise usage("--baseline and --store are two things to compare with: give one")
    if (args.file is None) == (args.named_file is None):
        raise usage("give one FILE: the submission or DAG" if args.file is None else "FILE is given twice")
    names = [args.file or args.named_file, *args.baseline]
    if names.count("-") > 1:
        raise usage("stdin (`-`) can be read only once")
    files = [InputFile(_shown(name), read_input(name, bytes_max)) for name in names]
    context = (args.world, args.domain, args.as_of, args.partition, args.strategy)
    return DiffRequest(files[0], tuple(files[1:]), *context, args.explain, args.store)


def _note_misspelt(request: DiffRequest) -> None:
    """On stderr, the ignored fields whose names are nearly those of known ones."""
    from dagmanager.cli.explain.misspelt_fields import misspelt_fields
    from dagmanager.terminal.text import note, visible

    for file in (request.file, *request.baselines):
        found = list(misspelt_fields(file.raw.decode("utf-8", "replace")))
        for pointer, meant in found[:MISSPELT_MAX]:
            note(
                f"note: {visible(file.name)} {visible(pointer)}: an unknown field, which is ignored; did you mean `{meant}`?"
            )
        if len(found) > MISSPELT_MAX:
            note(f"note: {visible(file.name)}: {len(found) - MISSPELT_MAX} more fields like these")


def _shown(name: str) -> str:
    return "<stdin>" if name == "-" else os.fsencode(name).decode("utf-8", "backslashreplace")


def _decided(request: DiffRequest, settings: Settings) -> dict[str, Any]:
    """The dict of `diff --json`; `CommandError` for the file that is refused."""
    from dagmanager.cli.explain.diff_engine import decide
    from dagmanager.cli.explain.rejection_report import rejection_report
    from dagmanager.errors import SettingsError
    from dagmanager.terminal.report import CommandError, Exit, Report

    try:
        found = decide(request, settings)
    except SettingsError as error:
        raise CommandError(Report("unreadable_file", str(error), Exit.USAGE)) from error
    if isinstance(found, dict):
        return found
    name, why = found
    file = next(each for each in (request.file, *request.baselines) if each.name == name)
    raise CommandError(rejection_report(why, file.raw, file.name))
