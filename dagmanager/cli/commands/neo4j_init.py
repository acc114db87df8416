"""`neo4j-init`: constraints and indexes on a Neo4j server, idempotent (M3)."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and how far to go."""
    add_address(parser)
    parser.add_argument(
        "--shared",
        action="store_true",
        help="continue in a database that has only data of other applications",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the Cypher that would run; without an address, that of an empty database",
    )
    parser.add_argument("--json", action="store_true", help="what was created and what existed, as JSON")
    parser.examples(
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt",
        "{prog} --config dagmanager.yml --dry-run",
        "{prog} --dry-run | cypher-shell -a bolt://localhost:7687",
    )


def run(args: argparse.Namespace) -> int:
    """0 when the schema is complete at the end."""
    from dagmanager.cli.explain.neo4j_schema_change import all_statements, as_cypher, make_schema
    from dagmanager.cli.framework.neo4j_address import find_server, server_of
    from dagmanager.terminal.progress import progress, seconds_so_far
    from dagmanager.terminal.report import Exit, show
    from dagmanager.terminal.text import note, write_json

    server = find_server(args) if args.dry_run else server_of(args)
    if server is None:
        statements = all_statements()
        if args.json:
            write_json({"uri": None, "dry_run": True, "statements": list(statements)}, indent=2)
        else:
            note("no address: this is the whole schema; no server was contacted")
            print(as_cypher(statements), end="")
        return Exit.FINE
    with progress(seconds_so_far(f"schema of {server.uri}")):
        change = make_schema(server, shared=args.shared, dry_run=args.dry_run)
    if args.json:
        shown = change.as_json() | {"dry_run": args.dry_run}
        write_json(shown | ({"statements": list(change.statements)} if args.dry_run else {}), indent=2)
        return Exit.FINE
    if warning := change.warning():
        show(warning)
    if args.dry_run:
        print(as_cypher(change.statements), end="")
        note(
            f"dry run: {len(change.made)} to create, {len(change.there)} already exist: {change.uri}, {change.server}"
        )
        return Exit.FINE
    for what, names in (("replaced", change.replaced), ("created", change.made)):
        for name in names:
            print(f"{what:8}  {name}")
    print(change.summary())
    return Exit.FINE
