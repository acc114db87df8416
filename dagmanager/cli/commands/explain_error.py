"""`explain-error CODE`: cause, example and remedy of every error, warning and reason for safe mode."""

from __future__ import annotations

import argparse
import sys

from dagmanager.cli.framework.arguments import Parser

SAFE_MODE = "safe_mode:"


def add_arguments(parser: Parser) -> None:
    """A code, or none for the list."""
    words = "as printed in an error, a warning or a reason (default: list all codes)"
    parser.add_argument("code", nargs="?", metavar="CODE", help=words)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.examples(
        "{prog}",
        "{prog} node_id_mismatch",
        "{prog} safe_mode:missing_as_of",
        "{prog} dependency_cycle --json",
    )


def run(args: argparse.Namespace) -> int:
    """Print a page, or the list of all."""
    from dagmanager.cli.explain.error_page import codes, drawn, page
    from dagmanager.terminal.report import Exit, usage
    from dagmanager.terminal.text import columns, is_decorated, nearest, visible, wrapped, write_json

    if args.code is None:
        pages = [page(code) for code in codes()]
        if args.json:
            write_json([{"code": each.code, "title": each.title} for each in pages], indent=2)
        else:
            width = max(len(each.code) for each in pages) + 2
            for each in pages:
                title = each.title.replace("`", "")
                print(wrapped(f"{each.code:{width}}{title}", columns(), " " * width))
        return Exit.FINE
    code = _meant_code(args.code.strip().lower().replace("-", "_"), codes())
    if code not in codes():
        near = nearest(code, codes())
        hints = [f"did you mean `{near}`?"] if near else []
        raise usage(f"unknown code `{visible(args.code)}`", *hints, "without a CODE all codes are listed")
    found = page(code)
    if args.json:
        shown = found._asdict()
        del shown["text"]
        write_json(shown | _statuses(code), indent=2)
    elif is_decorated(sys.stdout):
        print(drawn(found))
    else:
        print(found.text.rstrip("\n"))
    return Exit.FINE


def _meant_code(word: str, known: tuple[str, ...]) -> str:
    """A reason of safe mode as a diff prints it; the free texts of a Gateway share one page."""
    if not word.startswith(SAFE_MODE):
        return word
    reason = word.removeprefix(SAFE_MODE)
    return reason if reason in known else "gateway"


def _statuses(code: str) -> dict[str, object]:
    """The gRPC and HTTP status of the code; none for errors of the command line."""
    from dagmanager.errors import RETRYABLE, STATUS, ErrorCode

    if code not in set(ErrorCode):
        return {"grpc_status": None, "http_status": None, "retryable": False}
    known = ErrorCode(code)
    grpc_status, http_status = STATUS[known]
    return {"grpc_status": grpc_status, "http_status": http_status, "retryable": known in RETRYABLE}
