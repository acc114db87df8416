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
        """Declare options and examples. Raises nothing."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command, for as long as it takes; the exit code. An error that it raises is reported by `main`."""


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
    """A command that has commands below it."""

    summary: str
    entries: Mapping[str, Command | Group]
    examples: tuple[str, ...]


CONFIG: Final = Group(
    "check or print a settings file",
    {
        "validate": Command("report every error and warning of the settings", "config_validate"),
        "sample": Command("print a settings file with every field explained", "config_sample"),
    },
    ("sample > dagmanager.yml", "validate --config dagmanager.yml"),
)
TOPICS: Final = Group(
    "list the topics of any point in time",
    {"history": Command("list the topics that existed at a time, from the admin log", "topics_history")},
    ("history --at 2026-11-23T12:00:00Z",),
)
DAGMANAGER: Final = Group(
    "Computes what a strategy's DAG shares with every DAG before it, and what is new.",
    {
        "diff": Command("show what a DAG would create, reuse and buffer; writes nothing", "diff"),
        "run": Command("run the flow: submissions in, answers out", "run"),
        "node-id": Command("compute the ids of nodes (JSON lines on stdin, or a DAG)", "node_id"),
        "compute-key": Command("compute the keys of nodes in a context (JSON lines on stdin)", "compute_key"),
        "explain-error": Command("explain the code of an error or a warning, and the fix", "explain_error"),
        "completion": Command("print a completion script for bash, zsh or fish", "completion"),
        "config": CONFIG,
        "init": Command("create what the first start needs on the servers; idempotent", "init"),
        "neo4j-init": Command("create the constraints and indexes on Neo4j; idempotent", "neo4j_init"),
        "neo4j-rollback": Command("remove these constraints and indexes; data stays", "neo4j_rollback"),
        "neo4j-backfill": Command("set schema_compat_id on compute nodes of old data", "neo4j_backfill"),
        "export-schema": Command("write the constraints and indexes of Neo4j as Cypher", "export_schema"),
        "topics": TOPICS,
    },
    ("diff dag.json", "diff new.json --baseline old.json --exit-code", "explain-error"),
)
QMTL: Final = Group(
    "The command line of QMTL's DAG Manager.",
    {
        "service": Group(
            "services of QMTL; this package has the DAG Manager",
            {"dagmanager": DAGMANAGER},
            ("dagmanager --help", "dagmanager diff dag.json"),
        ),
        "config": CONFIG,
    },
    ("service dagmanager --help", "service dagmanager diff dag.json", "config sample"),
)
