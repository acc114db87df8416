"""`init`: creates what a process needs before its first start, and carries an older graph over; idempotent (docs/semantics.md 11).

One step per server. A new server is one more entry of `STEPS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.settings.table import Settings
    from dagmanager.terminal.report import Report


class InitRequest(NamedTuple):
    """The settings and flags of one `init`."""

    settings: Settings
    shared: bool
    dry_run: bool


class StepDone(NamedTuple):
    """What a step did: a line for people, the same as JSON, and a warning."""

    summary: str
    facts: dict[str, Any]
    warning: Report | None = None


class Step(NamedTuple):
    """`is_wanted`: these settings name the server. `create` is idempotent."""

    name: str
    is_wanted: Callable[[Settings], bool]
    create: Callable[[InitRequest], StepDone]


def add_arguments(parser: Parser) -> None:
    """The settings, and how far to go."""
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.add_argument(
        "--shared",
        action="store_true",
        help="continue in a database that has only data of other applications",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what is missing, create nothing")
    parser.add_argument("--json", action="store_true", help="what each step did, as JSON")
    parser.examples("{prog} --config dagmanager.yml --dry-run", "{prog} --config dagmanager.yml")


def run(args: argparse.Namespace) -> int:
    """Steps in order; the first failure ends the command, and the next call continues there."""
    from dagmanager.terminal.progress import progress, seconds_so_far
    from dagmanager.terminal.report import Exit, show
    from dagmanager.terminal.settings_report import load_settings
    from dagmanager.terminal.text import columns_of, wrapped, write_json

    settings = load_settings(args.config, os.environ)
    request = InitRequest(settings, args.shared, args.dry_run)
    done: dict[str, StepDone] = {}
    for step in STEPS:
        if step.is_wanted(settings):
            with progress(seconds_so_far(step.name)):
                done[step.name] = step.create(request)
            if not args.json:
                if warning := done[step.name].warning:
                    show(warning)
                print(wrapped(f"{step.name}: {done[step.name].summary}", columns_of(sys.stdout), "  "))
    if args.json:
        facts = {name: each.facts for name, each in done.items()}
        write_json({"profile": settings.profile, "dry_run": args.dry_run, "steps": facts}, indent=2)
    elif not done:
        words = "nothing to create: the settings name no server, and embedded stores create themselves"
        print(wrapped(words, columns_of(sys.stdout), "  "))
    return Exit.FINE


def _create_graph(request: InitRequest) -> StepDone:
    from dagmanager.cli.explain.neo4j_schema_change import make_schema
    from dagmanager.graph.neo4j.server import Server

    settings = request.settings
    server = Server(
        settings.neo4j_dsn, settings.neo4j_user, settings.neo4j_password, settings.neo4j_database or None
    )
    change = make_schema(server, shared=request.shared, dry_run=request.dry_run)
    verb = "to create" if request.dry_run else "created"
    summary = (
        f"{len(change.made)} constraints and indexes {verb}, {len(change.there)} already exist: {change.uri}"
    )
    return StepDone(summary, change.as_json(), change.warning())


def _create_topics(request: InitRequest) -> StepDone:
    from dagmanager.connect import create_topics

    made, there = create_topics(request.settings, dry_run=request.dry_run)
    verb = "to create" if request.dry_run else "created"
    named = f" ({', '.join(made)})" if made else ""
    return StepDone(
        f"{len(made)} topics {verb}{named}, {len(there)} already exist", {"made": made, "there": there}
    )


def _carry_store_over(request: InitRequest) -> StepDone:
    """A new file is created by the flow; one of an older release is carried over when it is opened."""
    from pathlib import Path

    from dagmanager.graph.embedded.sqlite import SqliteGraph
    from dagmanager.graph.embedded.sqlite_snapshot import stored_model
    from dagmanager.graph.model_version import MODEL

    path = Path(request.settings.memory_repo_path)
    found = stored_model(path) if path.exists() else MODEL
    if found < MODEL and not request.dry_run:
        SqliteGraph(path, lambda: 0).close()
    done = "to carry over" if request.dry_run else "carried over"
    words = f"{done} from model {found}" if found < MODEL else "nothing to carry over"
    return StepDone(f"{words}: {path}", {"model": found, "needed": MODEL})


STEPS: Final = (
    Step("graph", lambda settings: bool(settings.neo4j_dsn), _create_graph),
    Step(
        "store",
        lambda settings: bool(settings.memory_repo_path and not settings.neo4j_dsn),
        _carry_store_over,
    ),
    Step("topics", lambda settings: bool(settings.kafka_dsn or settings.controlbus_dsn), _create_topics),
)
