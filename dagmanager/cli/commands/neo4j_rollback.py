"""`neo4j-rollback`: takes our constraints and indexes away again, and no data."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and the word that allows it."""
    add_address(parser)
    parser.add_argument("--yes", action="store_true", help="really do it; nothing ever asks")
    parser.add_argument("--dry-run", action="store_true", help="print the Cypher that would run")
    parser.add_argument("--json", action="store_true", help="what was removed, as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml --dry-run",
        "{prog} --config dagmanager.yml --yes",
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt --yes",
    )


def run(args: argparse.Namespace) -> int:
    """0 when none of ours is left; without `--yes` a usage error, before any server is asked."""
    from dagmanager.cli.explain.neo4j_schema_change import as_cypher
    from dagmanager.cli.framework.error_report import Exit, usage
    from dagmanager.cli.framework.neo4j_address import server_of
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.cli.framework.output import plain_table, write_json
    from dagmanager.graph.neo4j.schema import drop, droppable, dropping

    if not (args.yes or args.dry_run):
        raise usage(
            "this removes our constraints and indexes: say --yes, or --dry-run to see them",
            "no data is touched; processes refuse to start until `neo4j-init` makes them again",
        )
    server = server_of(args)
    with opened(server, reads_only=args.dry_run) as session:
        found = droppable(session)
        removed = tuple(each.name for each in found) if args.dry_run else drop(session)
    if args.json:
        write_json({"uri": server.uri, "dry_run": args.dry_run, "removed": list(removed)}, indent=2)
    elif args.dry_run:
        print(as_cypher(tuple(dropping(each) for each in found)), end="")
    else:
        if removed:
            print(plain_table(("what", "name"), [("removed", name) for name in removed]))
        print(f"{len(removed)} removed, no data: {server.uri}")
    return Exit.FINE
