"""`neo4j-backfill`: sets `schema_compat_id` on compute nodes of old data (M2)."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and whether to write."""
    add_address(parser)
    parser.add_argument("--dry-run", action="store_true", help="count only, write nothing")
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    parser.examples(
        "{prog} --config dagmanager.yml --dry-run",
        "{prog} --config dagmanager.yml",
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt --json",
    )


def run(args: argparse.Namespace) -> int:
    """0; prints how many were filled. A node that has both fields keeps both. Idempotent."""
    from dagmanager.cli.framework.neo4j_address import server_of
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.graph.neo4j.backfill import count, fill
    from dagmanager.terminal.progress import progress, seconds_so_far
    from dagmanager.terminal.report import Exit, Report, show
    from dagmanager.terminal.text import counted, write_json

    server = server_of(args)
    waiting = progress(seconds_so_far(f"compute nodes of {server.uri}"))
    with waiting, opened(server, reads_only=args.dry_run) as session:
        before = count(session)
        filled = 0 if args.dry_run else fill(session)
    if args.json:
        write_json(
            {"uri": server.uri, "dry_run": args.dry_run, "filled": filled} | before._asdict(), indent=2
        )
        return Exit.FINE
    if before.differing:
        message = (
            f"{counted(before.differing, 'node')} with a schema_id other than schema_compat_id: unchanged"
        )
        show(Report("schema_id_conflict", message, level="warning"))
    did = f"{before.wanting:,} to fill" if args.dry_run else f"{filled:,} filled"
    print(f"{did}, of {before.nodes:,} compute nodes: {server.uri}")
    return Exit.FINE
