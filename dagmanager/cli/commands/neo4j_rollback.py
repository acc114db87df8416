"""`neo4j-rollback`: removes the constraints and indexes of this product; data stays."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and the confirmation."""
    add_address(parser)
    parser.add_argument("--yes", action="store_true", help="confirm: without it nothing is removed")
    parser.add_argument("--dry-run", action="store_true", help="print the Cypher that would run")
    parser.add_argument("--json", action="store_true", help="what was removed, as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml --dry-run",
        "{prog} --config dagmanager.yml --yes",
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt --yes",
    )


def run(args: argparse.Namespace) -> int:
    """0 when none is left; without `--yes` a usage error, before any connection."""
    from dagmanager.cli.explain.neo4j_schema_change import as_cypher
    from dagmanager.cli.framework.neo4j_address import server_of
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.graph.neo4j.schema import drop, drop_statement, droppable
    from dagmanager.terminal.report import Exit, usage
    from dagmanager.terminal.text import write_json

    if not (args.yes or args.dry_run):
        raise usage(
            "this removes the constraints and indexes: confirm with --yes, or see them with --dry-run",
            "no data is removed; processes refuse to start until `neo4j-init` creates them again",
        )
    server = server_of(args)
    with opened(server, reads_only=args.dry_run) as session:
        found = droppable(session)
        removed = tuple(each.name for each in found) if args.dry_run else drop(session)
    if args.json:
        write_json({"uri": server.uri, "dry_run": args.dry_run, "removed": list(removed)}, indent=2)
    elif args.dry_run:
        print(as_cypher(tuple(drop_statement(each) for each in found)), end="")
    else:
        for name in removed:
            print(f"removed  {name}")
        print(f"{len(removed)} removed, no data: {server.uri}")
    return Exit.FINE
