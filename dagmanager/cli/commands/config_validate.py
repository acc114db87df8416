"""`config validate`: every finding at once, offline (P3); errors in prod, warnings in dev."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.settings.source import Finding


def add_arguments(parser: Parser) -> None:
    """The file, and how strict to be."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    parser.add_argument("--config", metavar="FILE", help="settings file (else DAGMANAGER_CONFIG)")
    parser.add_argument("--strict", action="store_true", help="an unknown field is an error")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml",
        "{prog} --config dagmanager.yml --strict",
        "{prog} --json | jq .findings",
    )


def run(args: argparse.Namespace) -> int:
    """0 without an error (warnings are fine), else 1; 2 when the file cannot be read."""
    from dagmanager.cli.framework.error_report import Exit
    from dagmanager.cli.framework.output import write_json
    from dagmanager.settings.source import find_source, resolve

    source = find_source(args.config or args.file, os.environ)
    settings, findings = resolve(source, strict=args.strict)
    errors = sum(finding.level == "error" for finding in findings)
    if args.json:
        shown = [_as_json(finding) for finding in findings]
        write_json(
            {"ok": not errors, "profile": settings.profile, "file": source.file or None, "findings": shown},
            indent=2,
        )
        return Exit.REFUSED if errors else Exit.FINE
    lines = (source.text or "").splitlines()
    for finding in findings:
        print(_as_text(finding, lines))
    named = source.file or "no file: defaults and environment"
    verdict = "refused" if errors else "fine"
    warnings = len(findings) - errors
    print(f"{verdict}: {named}, profile {settings.profile}, errors: {errors}, warnings: {warnings}")
    return Exit.REFUSED if errors else Exit.FINE


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


def _as_text(finding: Finding, lines: list[str]) -> str:
    """Place, words, the key with a caret (never its value: it may be a secret), what was meant."""
    from dagmanager.cli.framework.output import visible

    place = f"{visible(finding.place())}: " if finding.line else ""
    shown = [f"{place}{finding.level}[{finding.code}]: {visible(finding.message)}"]
    if 0 < finding.line <= len(lines):
        whole = lines[finding.line - 1]
        key = whole[finding.column - 1 :].split(":", 1)[0].split(" ", 1)[0][:60]
        before = whole[: finding.column - 1]
        if before.strip():  # something else stands before it on the line
            before = ""
        number = str(finding.line)
        shown.append(f"  {number} | {visible(before)}{visible(key)}")
        shown.append(f"  {' ' * len(number)} | {' ' * len(visible(before))}{'^' * max(1, len(visible(key)))}")
    if finding.hint:
        shown.append(f"  {visible(finding.hint)}")
    return "\n".join(shown)
