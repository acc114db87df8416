"""`node-id`: the ids of nodes (docs/contract.md, NodeID): of JSON lines, or in a file with a DAG."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from dagmanager.cli.framework.arguments import Parser

INDENT: Final = re.compile(r"[{\[]\r?\n([ \t]+)")


def add_arguments(parser: Parser) -> None:
    """The form of the answer, or the file to work on."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line, with the field node_id or, for an invalid line, error",
    )
    parser.add_argument(
        "--dag",
        metavar="FILE",
        help="instead of lines, read this DAG or submission, and print it with the right ids; `-` is stdin",
    )
    parser.add_argument("--write", action="store_true", help="with --dag: write into the file instead")
    parser.examples(
        "{prog} --dag dag.json --write",
        """echo '{"node_type":"N","code_hash":"c","schema_compat_id":"s"}' | {prog}""",
        "jq -c '.nodes[]' dag.json | {prog}",
        "jq -c '.nodes[]' dag.json | {prog} --json | jq -r .node_id",
    )


def run(args: argparse.Namespace) -> int:
    """0; 1 when a line, or the DAG, is invalid."""
    from dagmanager.terminal.report import usage

    if args.dag is not None:
        if args.json:
            raise usage("--dag prints a DAG and --json lines: give one of them")
        return _dag(args.dag, write=args.write)
    if args.write:
        raise usage("--write needs --dag FILE")
    return _lines(as_json=args.json)


def _lines(*, as_json: bool) -> int:
    from dagmanager.cli.explain.json_line_answers import answer_lines
    from dagmanager.dag.canonicalize import parse_node_json
    from dagmanager.errors import Rejection

    def convert(line: bytes) -> str | Rejection:
        found = parse_node_json(line)
        return found if isinstance(found, Rejection) else found.node_id

    return answer_lines(convert, "node_id", as_json=as_json)


def _dag(name: str, *, write: bool) -> int:
    """Print the DAG with its ids, or write it into its file; only a file whose ids change is written."""
    import sys

    from dagmanager.cli.explain.rejection_report import rejection_report
    from dagmanager.cli.framework.input_file import read_input
    from dagmanager.cli.framework.output_file import write_whole
    from dagmanager.dag.limits import Limits
    from dagmanager.dag.recompute_ids import recompute_ids
    from dagmanager.errors import Rejection
    from dagmanager.terminal.report import CommandError, Exit, usage
    from dagmanager.terminal.text import counted, note

    if write and name == "-":
        raise usage("--write needs a file: stdin cannot be written")
    raw = read_input(name, Limits().bytes_max)
    document = _document(raw)
    nodes = document if isinstance(document, Rejection) else _nodes_of(document)
    found = nodes if isinstance(nodes, Rejection) else recompute_ids(nodes)
    if isinstance(found, Rejection):
        raise CommandError(rejection_report(found, raw, "<stdin>" if name == "-" else name))
    changed = sum(former != now for former, now in found.items())
    text = _text(document, raw.decode())
    if not write:
        sys.stdout.write(text)
    elif text != raw.decode():
        write_whole(name, text)
    note(f"{counted(changed, 'id')} changed, of {counted(len(found), 'node')}")
    return Exit.FINE


def _document(raw: bytes) -> Any:
    """The value of the file, or a `Rejection`: what a submission with this text would be refused for."""
    import json

    from dagmanager.dag.json.exact_json import parse
    from dagmanager.dag.json.json_scan import JsonProblem
    from dagmanager.dag.limits import Limits

    checked = parse(raw, Limits().depth_max)
    return checked.rejection() if isinstance(checked, JsonProblem) else json.loads(raw)


def _nodes_of(document: Any) -> Any:
    """The list of nodes of a DAG or a submission, or a `Rejection`."""
    from dagmanager.errors import ErrorCode, Rejection

    holder = document.get("dag", document) if isinstance(document, dict) else None
    nodes = holder.get("nodes") if isinstance(holder, dict) else None
    if isinstance(nodes, list):
        return nodes
    why = "a DAG is due: a JSON object with the list `nodes`, or with one as `dag`"
    return Rejection(ErrorCode.INVALID_FIELD, why, field="")


def _text(document: Any, former: str) -> str:
    """The document as JSON, indented like the former text."""
    import json

    found = INDENT.search(former)
    end = "\n" if former.endswith("\n") or found is None else ""
    return json.dumps(document, ensure_ascii=False, indent=found[1] if found else None) + end
