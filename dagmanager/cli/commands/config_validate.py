"""`config validate`: every finding at once, offline (P3); errors in prod, warnings in dev."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.settings.finding import Finding


def add_arguments(parser: Parser) -> None:
    """The file, and how strict to be."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.add_argument("--strict", action="store_true", help="an unknown field is an error")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml",
        "{prog} --config dagmanager.yml --strict",
        "{prog} --json | jq .findings",
    )


def run(args: argparse.Namespace) -> int:
    """0 without an error (warnings are fine), else 2, as `run` would end."""
    from dagmanager.settings.source import find_source, resolve
    from dagmanager.terminal.report import Exit, show
    from dagmanager.terminal.settings_report import finding_report
    from dagmanager.terminal.text import counted, write_json

    source = find_source(args.config or args.file, os.environ)
    settings, findings = resolve(source, strict=args.strict)
    errors = sum(finding.level == "error" for finding in findings)
    if args.json:
        shown = [_as_json(finding) for finding in findings]
        write_json(
            {"ok": not errors, "profile": settings.profile, "file": source.file or None, "findings": shown},
            indent=2,
        )
        return Exit.USAGE if errors else Exit.FINE
    lines = (source.text or "").splitlines()
    for finding in findings:
        show(finding_report(finding, lines), stream=sys.stdout)
    named = source.file or "no file (defaults and environment)"
    verdict = "invalid" if errors else "valid"
    totals = f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}"
    print(f"{verdict}: {named}, profile {settings.profile}, {totals}")
    return Exit.USAGE if errors else Exit.FINE


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
