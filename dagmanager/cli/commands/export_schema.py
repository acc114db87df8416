"""`export-schema`: the database's constraints and indexes as Cypher that creates them again (M3)."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address


def add_arguments(parser: Parser) -> None:
    """The server, and where to write."""
    add_address(parser)
    parser.add_argument("--out", metavar="FILE", default="-", help="file to write (default `-`: stdout)")
    parser.examples(
        "{prog} --config dagmanager.yml --out schema.cypher",
        "{prog} --uri bolt://localhost:7687 --user neo4j --password-file password.txt | diff schema.cypher -",
    )


def run(args: argparse.Namespace) -> int:
    """An existing file is replaced only when the new one is complete."""
    from dagmanager.cli.framework.neo4j_address import server_of
    from dagmanager.cli.framework.neo4j_session import opened
    from dagmanager.cli.framework.output_file import write_whole
    from dagmanager.graph.neo4j.schema import export
    from dagmanager.terminal.report import Exit
    from dagmanager.terminal.text import note

    server = server_of(args)
    with opened(server, reads_only=True) as session:
        cypher = export(session)
    if args.out == "-":
        print(cypher, end="")
    else:
        write_whole(args.out, cypher)
    number = cypher.count("\n")
    note(f"{number} constraints and indexes: {server.uri}")
    return Exit.FINE
