"""What commands there are, under which names; each module is imported only when its command is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from dagmanager.cli.arguments import Parser


class CommandModule(Protocol):
    """What a command's file offers."""

    def add_arguments(self, parser: Parser) -> None:
        """Describe options and examples."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


class Command(NamedTuple):
    """One command; `load` imports its file."""

    summary: str
    load: Callable[[], CommandModule]


class Group(NamedTuple):
    """A word that has commands below it."""

    summary: str
    entries: Mapping[str, Command | Group]
    examples: tuple[str, ...]


def _diff() -> CommandModule:
    from dagmanager.cli import diff

    return diff


def _node_id() -> CommandModule:
    from dagmanager.cli import node_id

    return node_id


def _compute_key() -> CommandModule:
    from dagmanager.cli import compute_key

    return compute_key


def _explain_error() -> CommandModule:
    from dagmanager.cli import explain_error

    return explain_error


def _completion() -> CommandModule:
    from dagmanager.cli import completion

    return completion


def _run() -> CommandModule:
    from dagmanager.cli import run

    return run


def _validate() -> CommandModule:
    from dagmanager.cli import config_validate

    return config_validate


def _sample() -> CommandModule:
    from dagmanager.cli import config_sample

    return config_sample


def _init() -> CommandModule:
    from dagmanager.cli import init

    return init


def _neo4j_init() -> CommandModule:
    from dagmanager.cli import neo4j_init

    return neo4j_init


def _neo4j_rollback() -> CommandModule:
    from dagmanager.cli import neo4j_rollback

    return neo4j_rollback


def _neo4j_backfill() -> CommandModule:
    from dagmanager.cli import neo4j_backfill

    return neo4j_backfill


def _export_schema() -> CommandModule:
    from dagmanager.cli import export_schema

    return export_schema


def _topics_history() -> CommandModule:
    from dagmanager.cli import topics_history

    return topics_history


CONFIG: Final = Group(
    "check or write a settings file; needs no server",
    {
        "validate": Command("report everything that is wrong with the settings", _validate),
        "sample": Command("write a settings file with every field explained", _sample),
    },
    ("sample > dagmanager.yml", "validate --config dagmanager.yml"),
)
TOPICS: Final = Group(
    "what happened to topics",
    {"history": Command("which topics there were at a moment, from the admin log", _topics_history)},
    ("history --at 2026-11-23T12:00:00Z",),
)
DAGMANAGER: Final = Group(
    "what a strategy's DAG shares with every DAG before it, and what it would create",
    {
        "diff": Command("show what submitting a DAG would create, reuse and buffer; writes nothing", _diff),
        "run": Command("run the flow: submissions in, diffs out, until the input ends or SIGTERM", _run),
        "node-id": Command("compute node ids of JSON lines on stdin", _node_id),
        "compute-key": Command("compute keys of nodes in their contexts, JSON lines on stdin", _compute_key),
        "explain-error": Command("say what an error or a warning means and how to mend it", _explain_error),
        "completion": Command("print a completion script for bash, zsh or fish", _completion),
        "config": CONFIG,
        "init": Command("make what a first start needs on the servers; safe to repeat", _init),
        "neo4j-init": Command(
            "make our constraints and indexes on a Neo4j server; safe to repeat", _neo4j_init
        ),
        "neo4j-rollback": Command("remove our constraints and indexes from Neo4j, no data", _neo4j_rollback),
        "neo4j-backfill": Command("give old compute nodes their schema_compat_id", _neo4j_backfill),
        "export-schema": Command("write the constraints and indexes of Neo4j as Cypher", _export_schema),
        "topics": TOPICS,
    },
    ("diff --file dag.json", "diff --file new.json --baseline old.json --exit-code", "explain-error"),
)
QMTL: Final = Group(
    "QMTL's DAG Manager at the command line",
    {
        "service": Group(
            "services of QMTL; this package brings the DAG Manager",
            {"dagmanager": DAGMANAGER},
            ("dagmanager --help", "dagmanager diff --file dag.json"),
        ),
        "config": CONFIG,
    },
    ("service dagmanager --help", "service dagmanager diff --file dag.json", "config sample"),
)
