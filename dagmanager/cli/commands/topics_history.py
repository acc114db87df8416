"""`topics history`: which topics there were at a moment, rebuilt from the admin log (R3)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.error_report import CommandError, Exit, Report, usage

if TYPE_CHECKING:
    from dagmanager.engine.model.event_ports import AdminEntry
    from dagmanager.engine.wire.topic_history import TopicThen
    from dagmanager.kafka.whole_topic import WholeTopic

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
        help="the log as JSON lines, `-` for stdin (else `admin_log_topic` where `kafka_dsn` is set, "
        f"or {FILE} under `results_path`)",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (else DAGMANAGER_CONFIG)")
    parser.add_argument("--json", action="store_true", help="the topics with all that is known, as JSON")
    parser.examples(
        "{prog} --at 2026-11-23T12:00:00Z",
        "{prog} --at 2026-11-23 --config dagmanager.yml",
        f"{{prog}} --at 1795435200000 --from results/{FILE} --json",
    )


def run(args: argparse.Namespace) -> int:
    """0, also when there were none; 1 when the log holds something else, 4 when its broker is away."""
    from dagmanager.cli.framework.output import note, write_json
    from dagmanager.cli.framework.timestamp_argument import parse_moment, show_moment
    from dagmanager.engine.wire.topic_history import topics_at

    at_ms = parse_moment(args.at)
    with _log(args.log, args.config) as (name, entries):
        found = topics_at(entries, at_ms)
    if args.json:
        import msgspec

        topics = [msgspec.to_builtins(each) for each in found.values()]
        write_json({"at": show_moment(at_ms), "at_ms": at_ms, "log": name, "topics": topics}, indent=2)
        return Exit.FINE
    if found:
        _show(list(found.values()))
    note(f"{len(found)} topics at {show_moment(at_ms)}")
    return Exit.FINE


@contextmanager
def _log(given: str | None, config: str | None) -> Iterator[tuple[str, Iterator[AdminEntry]]]:
    """The log's name and what is in it: the file that is named, else where a flow of these settings writes."""
    name = given
    if name is None:
        from dagmanager.settings.source import load

        settings, _ = load(config, os.environ, offline=True)
        if settings.kafka_dsn:
            from dagmanager.connect import open_admin_log

            with open_admin_log(settings) as topic:
                yield f"topic {topic.topic}", _recorded(topic)
            return
        name = str(Path(settings.results_path) / FILE)
    with _lines(name) as lines:
        yield name, _entries(lines, name)


def _recorded(topic: WholeTopic) -> Iterator[AdminEntry]:
    """Every entry of the topic. Records are whole, so one that is no entry was written by somebody else."""
    from dagmanager.cli.framework.output import note, visible
    from dagmanager.topics.admin_log import InvalidLine, parse_entries

    for span in topic.ranges:
        if span.first:
            note(
                f"warning: {visible(topic.topic)} has lost its first {span.first} records (partition "
                f"{span.partition}): its retention must be for ever; topics made back then are not told"
            )
    for record in topic.records():
        for found in parse_entries([record.value]):
            if isinstance(found, InvalidLine):
                place = f"topic {topic.topic}, partition {record.partition}, offset {record.offset}"
                message = f"{place} is no entry of an admin log: {found.reason}"
                raise CommandError(Report("invalid_json", message, Exit.REFUSED))
            yield found


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
    from dagmanager.cli.framework.output import note, visible
    from dagmanager.topics.admin_log import InvalidLine, parse_entries

    for found in parse_entries(lines):
        if isinstance(found, InvalidLine):
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
    from dagmanager.cli.framework.output import plain_table
    from dagmanager.cli.framework.timestamp_argument import show_moment

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
