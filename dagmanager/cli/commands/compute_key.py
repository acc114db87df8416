"""`compute-key`: nodes in their contexts as JSON lines to compute keys (docs/contract.md, ComputeKey)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.errors import Rejection

FIELDS = ("world_id", "execution_domain", "as_of", "partition")


def add_arguments(parser: Parser) -> None:
    """Only the form of the answer can be chosen."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line, with the field compute_key or, for an invalid line, error",
    )
    parser.examples(
        """echo '{"node_id":"blake3:…","world_id":"w1","execution_domain":"live"}' | {prog}""",
        "{prog} --json < contexts.jsonl",
    )


def run(args: argparse.Namespace) -> int:
    """Exit 1 at the end when any line was bad."""
    from dagmanager.cli.explain.json_line_answers import answer_lines

    return answer_lines(_key_of, "compute_key", as_json=args.json)


def _key_of(line: bytes) -> str | Rejection:
    from dagmanager.dag.field_errors import FieldError, text_at, wrong_value
    from dagmanager.dag.json.exact_json import parse
    from dagmanager.dag.json.json_scan import JsonProblem
    from dagmanager.dag.limits import Limits
    from dagmanager.dag.record.compute_key import compute_key
    from dagmanager.dag.record.context import resolve
    from dagmanager.dag.record.context_fields import context_text
    from dagmanager.errors import ErrorCode, Rejection

    tree = parse(line, Limits().depth_max)
    if isinstance(tree, JsonProblem):
        return tree.rejection()
    if not isinstance(tree, dict):
        return wrong_value("", "an object with node_id", tree).rejection
    try:
        node_id = (text_at(tree, "node_id", "") or "").strip()
        if not node_id:
            return Rejection(ErrorCode.MISSING_FIELDS, "/node_id is missing or empty", field="/node_id")
        if not node_id.startswith("blake3:"):
            raise wrong_value("/node_id", "an id that begins with blake3:", node_id)
        return compute_key(node_id, resolve(*(context_text(tree, name, "") for name in FIELDS)))
    except FieldError as error:
        return error.rejection
