"""`neo4j-backfill`: gives compute nodes of old data their `schema_compat_id` (M2)."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and whether to write."""
    add_address(parser)
    parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml --dry-run",
        "{prog} --config dagmanager.yml",
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt --json",
    )


def run(args: argparse.Namespace) -> int:
    """0; says how many were filled. A node that has both names keeps both."""
    from dagmanager.cli.framework.error_report import Exit
    from dagmanager.cli.framework.neo4j_address import server_of
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.cli.framework.output import note, write_json
    from dagmanager.graph.neo4j.backfill import count, fill

    server = server_of(args)
    with opened(server, reads_only=args.dry_run) as session:
        before = count(session)
        filled = 0 if args.dry_run else fill(session)
    if args.json:
        write_json(
            {"uri": server.uri, "dry_run": args.dry_run, "filled": filled} | before._asdict(), indent=2
        )
        return Exit.FINE
    if before.differing:
        note(
            f"warning: {before.differing:,} nodes have a schema_id that differs from their schema_compat_id; "
            "they stay as they are"
        )
    did = f"{before.wanting:,} to fill" if args.dry_run else f"{filled:,} filled"
    print(f"{did}, of {before.nodes:,} compute nodes: {server.uri}")
    return Exit.FINE
