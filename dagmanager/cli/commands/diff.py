"""`diff`: what submitting a DAG would do, from files alone; nothing is written anywhere.

May not live here: the decision itself (`diff_engine`), how it looks (`diff_text`).
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.cli.explain.diff_request import DiffRequest, InputFile
    from dagmanager.cli.framework.error_report import CommandError
    from dagmanager.errors import Rejection
    from dagmanager.settings.table import Settings


def add_arguments(parser: Parser) -> None:
    """Files, context, form of the answer."""
    parser.add_argument("--file", required=True, metavar="FILE", help="the submission or DAG; `-` is stdin")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="FILE",
        help="an earlier submission of the same lineage; may be repeated, the last is the previous version",
    )
    parser.add_argument(
        "--store", metavar="FILE", help="compare with what a flow has there (its memory_repo_path); only read"
    )
    parser.add_argument("--world", metavar="W", help="world_id, where the file names none")
    parser.add_argument("--domain", metavar="D", help="execution domain; `live` where nothing says more")
    parser.add_argument("--as-of", metavar="T", help="as_of of a backtest or dry run")
    parser.add_argument("--partition", metavar="P", help="partition of the context")
    parser.add_argument("--strategy", metavar="S", help="strategy_id, where the file names none")
    parser.add_argument("--explain", action="store_true", help="say in words what each reason means")
    parser.add_argument("--exit-code", action="store_true", help="end with 3 when anything differs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything as one JSON object")
    form.add_argument("--markdown", action="store_true", help="for a pull request")
    parser.add_argument("--config", metavar="FILE", help="settings file (else DAGMANAGER_CONFIG)")
    parser.examples(
        "{prog} --file dag.json",
        "{prog} --file new.json --baseline old.json --explain",
        "{prog} --file new.json --store dagmanager.sqlite",
        "{prog} --file new.json --baseline old.json --markdown > comment.md",
        "{prog} --file new.json --baseline old.json --exit-code --json | jq .actions",
        "{prog} --file dag.json --world w1 --domain backtest --as-of 2026-01-01",
    )


def run(args: argparse.Namespace) -> int:
    """0, 3 with `--exit-code` when anything differs, 1 when a file is refused."""
    from dagmanager.cli.explain import diff_text
    from dagmanager.cli.framework.error_report import Exit
    from dagmanager.cli.framework.output import note, write_json
    from dagmanager.settings.source import load

    settings, findings = load(args.config, os.environ, offline=True)
    for finding in findings:
        note(f"warning: {finding.message}")
    if settings.neo4j_dsn and args.store is None:
        note("note: the graph at neo4j_dsn is not asked: only the files given are compared")
    found = _decide(_request(args, settings.submission_bytes_max), settings)
    if args.json:
        write_json(found, indent=2)
    elif args.markdown:
        print(diff_text.markdown(found, explain=args.explain))
    else:
        diff_text.show(found, explain=args.explain)
    return Exit.DIFFERS if args.exit_code and diff_text.differs(found) else Exit.FINE


def _request(args: argparse.Namespace, bytes_max: int) -> DiffRequest:
    from dagmanager.cli.explain.diff_request import DiffRequest, InputFile
    from dagmanager.cli.framework.error_report import usage
    from dagmanager.cli.framework.input_file import read_input

    if args.store is not None and args.baseline:
        raise usage("--baseline and --store cannot both say what to compare with")
    names = [args.file, *args.baseline]
    if names.count("-") > 1:
        raise usage("stdin (`-`) can be read only once")
    files = [InputFile(_shown(name), read_input(name, bytes_max)) for name in names]
    context = (args.world, args.domain, args.as_of, args.partition, args.strategy)
    return DiffRequest(files[0], tuple(files[1:]), *context, args.explain, args.store)


def _shown(name: str) -> str:
    return "<stdin>" if name == "-" else os.fsencode(name).decode("utf-8", "backslashreplace")


def _decide(request: DiffRequest, settings: Settings) -> dict[str, Any]:
    """The one call into the engine: a dict, or the name of the refused file and why."""
    from dagmanager.cli.explain.diff_engine import decide
    from dagmanager.cli.framework.error_report import CommandError, Exit, Report
    from dagmanager.errors import SettingsError

    try:
        found = decide(request, settings)
    except SettingsError as error:
        raise CommandError(Report("unreadable_file", str(error), Exit.USAGE)) from error
    if isinstance(found, dict):
        return found
    name, why = found
    raise refused(why, next(file for file in (request.file, *request.baselines) if file.name == name))


def refused(why: Rejection, file: InputFile) -> CommandError:
    """The rejection of one of the files, explained in it."""
    from dagmanager.cli.explain.rejection_report import report_of
    from dagmanager.cli.framework.error_report import CommandError

    return CommandError(report_of(why, file.raw, file.name))
