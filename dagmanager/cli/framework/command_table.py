"""The commands and their names. A command's module is imported only when the command is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol

from dagmanager.cli.framework.arguments import Parser


class CommandModule(Protocol):
    """What a command's file offers."""

    def add_arguments(self, parser: Parser) -> None:
        """Describe options and examples."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


class Command(NamedTuple):
    """One command; `module` is its file in `dagmanager.cli.commands`."""

    summary: str
    module: str

    def load(self) -> CommandModule:
        """Import the command's file."""
        found: Any = import_module(f"dagmanager.cli.commands.{self.module}")
        module: CommandModule = found
        return module


class Group(NamedTuple):
    """A word that has commands below it."""

    summary: str
    entries: Mapping[str, Command | Group]
    examples: tuple[str, ...]


CONFIG: Final = Group(
    "check or write a settings file; needs no server",
    {
        "validate": Command("report everything that is wrong with the settings", "config_validate"),
        "sample": Command("write a settings file with every field explained", "config_sample"),
    },
    ("sample > dagmanager.yml", "validate --config dagmanager.yml"),
)
TOPICS: Final = Group(
    "what happened to topics",
    {"history": Command("which topics there were at a moment, from the admin log", "topics_history")},
    ("history --at 2026-11-23T12:00:00Z",),
)
DAGMANAGER: Final = Group(
    "what a strategy's DAG shares with every DAG before it, and what it would create",
    {
        "diff": Command("show what submitting a DAG would create, reuse and buffer; writes nothing", "diff"),
        "run": Command("run the flow: submissions in, diffs out, until the input ends or SIGTERM", "run"),
        "node-id": Command("compute node ids of JSON lines on stdin", "node_id"),
        "compute-key": Command("compute keys of nodes in their contexts, JSON lines on stdin", "compute_key"),
        "explain-error": Command("say what an error or a warning means and how to mend it", "explain_error"),
        "completion": Command("print a completion script for bash, zsh or fish", "completion"),
        "config": CONFIG,
        "init": Command("make what a first start needs on the servers; safe to repeat", "init"),
        "neo4j-init": Command(
            "make our constraints and indexes on a Neo4j server; safe to repeat", "neo4j_init"
        ),
        "neo4j-rollback": Command("remove our constraints and indexes from Neo4j, no data", "neo4j_rollback"),
        "neo4j-backfill": Command("give old compute nodes their schema_compat_id", "neo4j_backfill"),
        "export-schema": Command("write the constraints and indexes of Neo4j as Cypher", "export_schema"),
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
