"""`node-id`: node objects as JSON lines to ids (docs/contract.md, NodeID)."""

from __future__ import annotations

import argparse

from dagmanager.cli.framework.arguments import Parser


def add_arguments(parser: Parser) -> None:
    """Only the form of the answer can be chosen."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line, with the field node_id or, for an invalid line, error",
    )
    parser.examples(
        """echo '{"node_type":"N","code_hash":"c","schema_compat_id":"s"}' | {prog}""",
        "jq -c '.nodes[]' dag.json | {prog}",
        "jq -c '.nodes[]' dag.json | {prog} --json | jq -r .node_id",
    )


def run(args: argparse.Namespace) -> int:
    """Exit 1 at the end when any line was bad."""
    from dagmanager.cli.explain.json_line_answers import answer_lines
    from dagmanager.dag.canonicalize import parse_node_json
    from dagmanager.errors import Rejection

    def convert(line: bytes) -> str | Rejection:
        found = parse_node_json(line)
        return found if isinstance(found, Rejection) else found.node_id

    return answer_lines(convert, "node_id", as_json=args.json)
