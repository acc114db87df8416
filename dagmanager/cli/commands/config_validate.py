"""`config validate`: every finding at once (P3); errors in prod, warnings in dev.

Offline, unless `--connect` asks to try the servers too.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagmanager.settings.finding import Finding
    from dagmanager.settings.table import Settings
    from dagmanager.terminal.report import Report

# All servers together answer within this time, or count as unreachable. The calls get less, so that they can say why.
ALL_WITHIN_S: Final = 4.5
EACH_WITHIN_S: Final = 3.0


def add_arguments(parser: Parser) -> None:
    """The file, and how strict to be."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.add_argument("--strict", action="store_true", help="an unknown field is an error")
    parser.add_argument(
        "--connect", action="store_true", help="also connect to each server, for 5 s at most; writes nothing"
    )
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml",
        "{prog} --config dagmanager.yml --strict",
        "{prog} --config dagmanager.yml --connect",
        "{prog} --json | jq .findings",
    )


def run(args: argparse.Namespace) -> int:
    """0 without an error (warnings are fine), else 2, as `run` would end; 4 when a server is unreachable (`--connect`)."""
    from dagmanager.settings.source import find_source, resolve
    from dagmanager.terminal.report import Exit, report_of, show
    from dagmanager.terminal.settings_report import finding_report
    from dagmanager.terminal.text import counted, write_json

    source = find_source(args.config or args.file, os.environ)
    settings, findings = resolve(source, strict=args.strict)
    errors = sum(finding.level == "error" for finding in findings)
    servers = _tried(settings) if args.connect and not errors else {}
    failures = {
        field: _with_help(report_of(failed), field) for field, failed in servers.items() if failed is not None
    }
    code = Exit.USAGE if errors else max((each.exit for each in failures.values()), default=Exit.FINE)
    if args.json:
        verdict: dict[str, Any] = {
            "ok": code == Exit.FINE,
            "profile": settings.profile,
            "file": source.file or None,
        }
        verdict["findings"] = [_as_json(finding) for finding in findings]
        if args.connect:
            verdict["servers"] = [
                {"field": field, "error": failures[field].as_json()["error"] if field in failures else None}
                for field in servers
            ]
        write_json(verdict, indent=2)
        return code
    lines = (source.text or "").splitlines()
    for finding in findings:
        show(finding_report(finding, lines), stream=sys.stdout)
    for field in servers:
        if field in failures:
            show(failures[field], stream=sys.stdout)
        else:
            print(f"{field}: {getattr(settings, field)} answers")
    named = source.file or "no file (defaults and environment)"
    verdict_word = "invalid" if errors else "valid"
    totals = f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}"
    if failures:
        totals += f"; {len(failures)} of {counted(len(servers), 'server')} cannot be used"
    print(f"{verdict_word}: {named}, profile {settings.profile}, {totals}")
    return code


def _tried(settings: Settings) -> Mapping[str, Exception | None]:
    """By field: why its server cannot be used, None when it can. All servers at once; blocks for 5 s at most."""
    import threading
    import time

    from dagmanager.connect import connection_tests
    from dagmanager.errors import UnavailableError

    done: dict[str, Exception | None] = {}
    calls = connection_tests(settings, EACH_WITHIN_S)

    def attempt(field: str) -> None:
        try:
            calls[field]()
            done[field] = None
        except Exception as failed:  # noqa: BLE001 - reported by the caller, whatever it is
            done[field] = failed

    # Daemons: a client that does not return in time must not keep the command.
    threads = [threading.Thread(target=attempt, args=(field,), daemon=True) for field in calls]
    until = time.monotonic() + ALL_WITHIN_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = UnavailableError(f"no answer within {ALL_WITHIN_S:g} s")
    return {field: done.get(field, late) for field in calls}


def _with_help(report: Report, field: str) -> Report:
    if report.helps:
        return report
    return report._replace(helps=(f"start the server, or correct `{field}`",))


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "field": finding.field,
        "file": finding.file or None,
        "line": finding.line or None,
        "column": finding.column or None,
        "hint": finding.hint or None,
    }
