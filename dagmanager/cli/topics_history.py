"""`topics history`: which topics there were at a moment, rebuilt from the admin log (R3)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dagmanager.cli.arguments import Parser
from dagmanager.cli.problem import CommandError, Exit, Report, usage

if TYPE_CHECKING:
    from dagmanager.engine.history import TopicThen
    from dagmanager.engine.ports import AdminEntry

FILE: Final = "admin-log.jsonl"
HEADS: Final = (
    "topic",
    "partitions",
    "replication",
    "retention_ms",
    "cleanup",
    "namespace",
    "node",
    "created",
)


def add_arguments(parser: Parser) -> None:
    """The moment, and where the log is."""
    parser.add_argument("--at", metavar="T", required=True, help="ISO-8601 (UTC without a zone) or epoch ms")
    parser.add_argument(
        "--from",
        metavar="FILE",
        dest="log",
        help=f"the log as JSON lines, `-` for stdin (else {FILE} under `results_path`)",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (else DAGMANAGER_CONFIG)")
    parser.add_argument("--json", action="store_true", help="the topics with all that is known, as JSON")
    parser.examples(
        "{prog} --at 2026-11-23T12:00:00Z",
        f"{{prog}} --at 1795435200000 --from results/{FILE} --json",
        "kafka-console-consumer --bootstrap-server localhost:9092 --topic dagmanager.admin-log --from-beginning "
        "--timeout-ms 10000 | {prog} --at 2026-11-23 --from -",
    )


def run(args: argparse.Namespace) -> int:
    """0, also when there were none; 1 when the file holds something else than a log."""
    from dagmanager.cli.moment import parse_moment, show_moment
    from dagmanager.cli.output import note, write_json
    from dagmanager.engine.history import topics_at

    at_ms = parse_moment(args.at)
    name = args.log or _default(args.config)
    with _lines(name) as lines:
        found = topics_at(_entries(lines, name), at_ms)
    if args.json:
        import msgspec

        topics = [msgspec.to_builtins(each) for each in found.values()]
        write_json({"at": show_moment(at_ms), "at_ms": at_ms, "log": name, "topics": topics}, indent=2)
        return Exit.FINE
    if found:
        _show(list(found.values()))
    note(f"{len(found)} topics at {show_moment(at_ms)}")
    return Exit.FINE


def _default(config: str | None) -> str:
    from dagmanager.settings.source import load

    settings, _ = load(config, os.environ, offline=True)
    if settings.kafka_dsn:
        raise usage(
            "kafka_dsn is set, so the log is a topic: name a copy of it with --from",
            f"write the values of {settings.admin_log_topic} there, one per line, or pipe them to --from -",
        )
    return str(Path(settings.results_path) / FILE)


@contextmanager
def _lines(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if sys.stdin is None:
            raise usage("stdin is closed: `-` reads from there")
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        notes = ("it appears with the first topic; name it with --from",)
        report = Report("unreadable_file", f"cannot read {name}: {words}", Exit.USAGE, file=name, notes=notes)
        raise CommandError(report) from error


def _entries(lines: BinaryIO, name: str) -> Iterator[AdminEntry]:
    """What counts; a line that its writer never finished is told and left out."""
    from dagmanager.cli.output import note, visible
    from dagmanager.topics.admin_log import NoEntry, entries_in

    for found in entries_in(lines):
        if isinstance(found, NoEntry):
            if not found.is_torn:
                raise _no_log(name, found.line, found.reason)
            note(f"warning: {visible(name)}:{found.line}: its writer died within this line: it never counted")
        else:
            yield found


def _no_log(name: str, line: int, reason: str) -> CommandError:
    shown = "<stdin>" if name == "-" else name
    message = f"line {line} is no entry of an admin log: {reason}"
    return CommandError(Report("invalid_json", message, Exit.REFUSED, file=shown, line=line, column=1))


def _show(topics: list[TopicThen]) -> None:
    from dagmanager.cli.moment import show_moment
    from dagmanager.cli.output import plain_table

    rows = [
        (
            each.topic,
            str(each.spec.partitions),
            str(each.spec.replication),
            str(each.spec.retention_ms),
            each.spec.cleanup_policy,
            each.namespace or "-",
            each.node_id,
            show_moment(each.created_ms),
        )
        for each in topics
    ]
    print(plain_table(HEADS, rows))
