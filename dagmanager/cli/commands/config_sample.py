"""`config sample`: a settings file, or the reference page, made from the table of settings."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from typing import Any

from dagmanager.cli.framework.arguments import Parser
from dagmanager.settings.table import Field, fields

PROFILES = ("dev", "prod")


def add_arguments(parser: Parser) -> None:
    """Which profile, which form."""
    parser.add_argument("--profile", choices=PROFILES, default="dev", help="what the sample is for (dev)")
    parser.add_argument("--markdown", action="store_true", help="the reference of all settings instead")
    parser.examples("{prog} > dagmanager.yml", "{prog} --profile prod", "{prog} --markdown > settings.md")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    print(reference() if args.markdown else sample(args.profile), end="")
    return 0


def sample(profile: str) -> str:
    """A YAML file that validates: every field with its sentence, those with a default commented out."""
    head = "# Settings of the QMTL DAG Manager. Sections of other services may stand beside `dagmanager`.\n"
    lines = [f"{head}# Check with: config validate --config FILE", ""]
    profile_row = next(row for row in fields() if row.name == "profile")
    lines += [f"# {profile_row.about.sentence}", f"profile: {profile}", "", "dagmanager:"]
    rows = [row for row in fields() if row.name != "profile"]
    for group, members in groupby(rows, key=lambda row: row.about.group):
        lines += ["", f"  # --- {group} ---"]
        for row in members:
            lines += ["", *_described(row, profile)]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """All settings as a Markdown page."""
    lines = ["# Settings", "", "Made by `config sample --markdown`; do not edit.", ""]
    lines += [
        "Each can be set in the file, in its section `dagmanager`, or as the environment variable "
        "`DAGMANAGER_<FIELD>`, which wins. `${NAME}` in the file takes from the environment."
    ]
    for group, members in groupby(fields(), key=lambda row: row.about.group):
        lines += ["", f"## {group}", "", "| field | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [f"| `{r.name}` | {r.kind} | {_defaults(r)} | {_meaning(r)} |" for r in members]
    return "\n".join(lines) + "\n"


def _described(row: Field, profile: str) -> list[str]:
    lines = [f"  # {row.about.sentence}"]
    default = _yaml(row.default_in(profile))
    if profile == "prod" and row.about.required_in_prod:
        return [*lines, "  # Required in prod.", f"  {row.name}: {row.about.example or 'queue'}"]
    if row.about.required_in_prod:
        lines.append("  # Required in prod.")
    if row.about.example and row.default_in(profile) in ("", {}):
        return [*lines, f"  # {row.name}: {row.about.example}"]
    return [*lines, f"  # {row.name}: {'${NEO4J_PASSWORD}' if row.about.secret else default}"]


def _defaults(row: Field) -> str:
    shown = f"`{_yaml(row.default)}`" if row.default not in ("", {}) else "empty"
    if row.about.required_in_prod:
        return f"{shown}; none in prod"
    if row.about.prod_default is not None:
        return f"{shown}; `{row.about.prod_default}` in prod"
    return shown


def _meaning(row: Field) -> str:
    required = " Required in prod." if row.about.required_in_prod else ""
    return f"{row.about.sentence}{required}".replace("|", "\\|")


def _yaml(value: Any) -> str:
    """A default as YAML's flow style, which JSON is; plain words stay plain."""
    import msgspec

    built = msgspec.to_builtins(value)
    if isinstance(built, str) and built and built not in ("-",):
        return built
    return json.dumps(built)
