"""`init`: makes what a process needs before its first start, as often as one likes (docs/semantics.md 11).

One step per server. A new server is one more entry of `STEPS`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.settings.table import Settings


class InitRequest(NamedTuple):
    """What `init` was told."""

    settings: Settings
    shared: bool
    dry_run: bool


class Done(NamedTuple):
    """What a step did: a line for people, the same for machines, and what should not be overlooked."""

    summary: str
    facts: dict[str, Any]
    warning: str = ""


class Step(NamedTuple):
    """`is_wanted` says whether these settings name the server at all; `make` is idempotent."""

    name: str
    is_wanted: Callable[[Settings], bool]
    make: Callable[[InitRequest], Done]


def add_arguments(parser: Parser) -> None:
    """The settings, and how far to go."""
    parser.add_argument("--config", metavar="FILE", help="settings file (else DAGMANAGER_CONFIG)")
    parser.add_argument(
        "--shared", action="store_true", help="go on in a database that holds only data of somebody else"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what is missing, and make nothing")
    parser.add_argument("--json", action="store_true", help="what each step did, as JSON")
    parser.examples("{prog} --config dagmanager.yml --dry-run", "{prog} --config dagmanager.yml")


def run(args: argparse.Namespace) -> int:
    """Steps in order; the first that fails ends it, and the next call goes on there."""
    from dagmanager.cli.framework.error_report import Exit
    from dagmanager.cli.framework.output import note, visible, write_json
    from dagmanager.settings.source import load

    settings, findings = load(args.config, os.environ)
    for finding in findings:
        if finding.code != "empty_field":
            note(f"warning: {visible(finding.message)}")
    asked = InitRequest(settings, args.shared, args.dry_run)
    done: dict[str, Done] = {}
    for step in STEPS:
        if step.is_wanted(settings):
            done[step.name] = step.make(asked)
            if not args.json:
                if done[step.name].warning:
                    note(visible(done[step.name].warning))
                print(f"{step.name}: {done[step.name].summary}")
    if args.json:
        facts = {name: each.facts for name, each in done.items()}
        write_json({"profile": settings.profile, "dry_run": args.dry_run, "steps": facts}, indent=2)
    elif not done:
        print("nothing to make: no server is set, and what is embedded makes itself")
    return Exit.FINE


def _make_graph(asked: InitRequest) -> Done:
    from dagmanager.cli.explain.neo4j_schema_change import make_schema
    from dagmanager.graph.neo4j.graph import Server

    settings = asked.settings
    server = Server(
        settings.neo4j_dsn, settings.neo4j_user, settings.neo4j_password, settings.neo4j_database or None
    )
    change = make_schema(server, shared=asked.shared, dry_run=asked.dry_run)
    verb = "to make" if asked.dry_run else "made"
    summary = f"{len(change.made)} constraints and indexes {verb}, {len(change.there)} there: {change.uri}"
    return Done(summary, change.as_json(), change.warning())


def _make_topics(asked: InitRequest) -> Done:
    from dagmanager.connect import make_topics

    made, there = make_topics(asked.settings, dry_run=asked.dry_run)
    verb = "to make" if asked.dry_run else "made"
    named = f" ({', '.join(made)})" if made else ""
    return Done(f"{len(made)} topics {verb}{named}, {len(there)} there", {"made": made, "there": there})


STEPS: Final = (
    Step("graph", lambda settings: bool(settings.neo4j_dsn), _make_graph),
    Step("topics", lambda settings: bool(settings.kafka_dsn or settings.controlbus_dsn), _make_topics),
)
