"""What is wrong with the settings, in the same words for `config validate`, `run` and every other command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from dagmanager.settings.finding import Finding
from dagmanager.settings.source import OF_SERVERS, find_source, resolve
from dagmanager.settings.table import Settings, fields
from dagmanager.terminal.report import CommandError, Exit, Report, show

KEY_SHOWN_MAX: Final = 60
_COMMENT: Final = re.compile(r"\s+#.*")
_BRACKETED: Final = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|'[^']*'|\"[^\"]*\"")


def load_settings(config: str | None, environ: Mapping[str, str], *, offline: bool = False) -> Settings:
    """The settings of a command that is about to start; warnings go to stderr, each with its place.

    An empty address is no warning here: commands say themselves what is embedded then. With `offline`, for
    commands that need no server, it is no error either. Raises `CommandError` with every finding when one of
    them is an error.
    """
    source = find_source(config, environ)
    settings, found = resolve(source)
    findings = tuple(
        each for each in found if each.code not in OF_SERVERS or (each.level == "error" and not offline)
    )
    lines = (source.text or "").splitlines()
    errors = [each for each in findings if each.level == "error"]
    if errors:
        words = (f"{each.place()}: {each.message}" if each.place() else each.message for each in errors)
        shown = tuple(finding_report(each, lines) for each in findings)
        raise CommandError(Report("settings", "\n".join(words), Exit.USAGE), shown)
    for each in findings:
        show(finding_report(each, lines))
    return settings


def finding_report(finding: Finding, lines: Sequence[str]) -> Report:
    """A finding with its place and its line; of a field that may be a secret, only the key is shown."""
    source, caret, width = _excerpt(finding, lines)
    return Report(
        code=finding.code,
        message=finding.message,
        exit=Exit.USAGE,
        level=finding.level,
        file=finding.file if finding.line else "",
        line=finding.line,
        column=finding.column,
        source=source,
        caret=caret,
        width=width,
        helps=(finding.hint,) if finding.hint else (),
    )


def _excerpt(finding: Finding, lines: Sequence[str]) -> tuple[str, int, int]:
    if not 0 < finding.line <= len(lines):
        return "", 0, 1
    line, start = lines[finding.line - 1], finding.column - 1
    key = line[start:].split(":", 1)[0].split(" ", 1)[0][:KEY_SHOWN_MAX]
    before = line[:start]
    if before.strip():  # another field on the same line, whose value may be a secret
        return key, 0, max(1, len(key))
    shown = before + (key if _may_be_secret(finding, line[start:]) else _COMMENT.sub("", line[start:]))
    return shown, len(before), max(1, len(key))


def _may_be_secret(finding: Finding, rest: str) -> bool:
    """Also true of an unknown field, which may be a misspelt secret, and if another field follows on the line."""
    public = {row.name for row in fields() if not row.about.secret}
    flat = _BRACKETED.sub("", _COMMENT.sub("", rest))
    return finding.field not in public or "," in flat
