"""`topics history`: the topics that existed at a time, rebuilt from the admin log (R3)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dagmanager.cli.framework.arguments import Parser
from dagmanager.terminal.report import CommandError, Exit, Report, usage

if TYPE_CHECKING:
    from dagmanager.engine.model.admin_log_port import AdminEntry
    from dagmanager.engine.wire.topic_history import TopicThen
    from dagmanager.kafka.whole_topic import WholeTopic

FILE: Final = "admin-log.jsonl"
TOPIC_NARROWEST: Final = 20
_DAY_MS: Final = 86_400_000


def add_arguments(parser: Parser) -> None:
    """The time, and where the log is."""
    parser.add_argument("--at", metavar="T", required=True, help="ISO-8601 (UTC without a zone) or epoch ms")
    parser.add_argument(
        "--from",
        metavar="FILE",
        dest="log",
        help="the log as JSON lines, `-` for stdin (default: the topic `admin_log_topic` with `kafka_dsn`, "
        f"else {FILE} in `results_path`)",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.add_argument("--wide", action="store_true", help="all columns, at any width")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.examples(
        "{prog} --at 2026-11-23T12:00:00Z",
        "{prog} --at 2026-11-23 --config dagmanager.yml",
        f"{{prog}} --at 1795435200000 --from results/{FILE} --json",
    )


def run(args: argparse.Namespace) -> int:
    """0, also without topics; 1 if the log has a record of another kind, 4 if its broker is unreachable."""
    from dagmanager.cli.framework.timestamp_argument import format_timestamp, parse_timestamp
    from dagmanager.engine.wire.topic_history import topics_at
    from dagmanager.terminal.progress import progress
    from dagmanager.terminal.text import counted, note, write_json

    at_ms, seen = parse_timestamp(args.at), [0]
    with (
        _log(args.log, args.config) as (name, entries),
        progress(lambda: f"{name}: {counted(seen[0], 'entry', 'entries')} read"),
    ):
        found = topics_at(_counted(entries, seen), at_ms)
    if args.json:
        import msgspec

        topics = [msgspec.to_builtins(each) for each in found.values()]
        write_json({"at": format_timestamp(at_ms), "at_ms": at_ms, "log": name, "topics": topics}, indent=2)
        return Exit.FINE
    if found:
        _show(list(found.values()), wide=args.wide)
        sys.stdout.flush()
    note(f"{counted(len(found), 'topic')} at {format_timestamp(at_ms)}")
    return Exit.FINE


def _counted(entries: Iterator[AdminEntry], seen: list[int]) -> Iterator[AdminEntry]:
    """The entries; `seen[0]` is how many were taken."""
    for entry in entries:
        seen[0] += 1
        yield entry


@contextmanager
def _log(given: str | None, config: str | None) -> Iterator[tuple[str, Iterator[AdminEntry]]]:
    """The log's name and its entries: from the named file, else from where these settings write the log."""
    name = given
    if name is None:
        from dagmanager.terminal.settings_report import load_settings

        settings = load_settings(config, os.environ, offline=True)
        if settings.kafka_dsn:
            from dagmanager.connect import open_admin_log

            with open_admin_log(settings) as topic:
                yield f"topic {topic.topic}", _recorded(topic)
            return
        name = str(Path(settings.results_path) / FILE)
    with _lines(name) as lines:
        yield name, _entries(lines, name)


def _recorded(topic: WholeTopic) -> Iterator[AdminEntry]:
    """Every entry of the topic. Records are whole, so one that is no entry comes from another writer."""
    from dagmanager.terminal.report import show
    from dagmanager.terminal.text import visible
    from dagmanager.topics.admin_log import InvalidLine, parse_entries

    for span in topic.ranges:
        if span.first:
            message = (
                f"{visible(topic.topic)} has lost its first {span.first} records (partition {span.partition}): "
                "topics created before the rest are missing here"
            )
            helps = ("set the retention of this topic to unlimited",)
            show(Report("log_incomplete", message, level="warning", helps=helps))
    for record in topic.records():
        for found in parse_entries([record.value]):
            if isinstance(found, InvalidLine):
                place = f"topic {topic.topic}, partition {record.partition}, offset {record.offset}"
                message = f"{place} is not an admin log entry: {found.reason}"
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
        helps = ("the log is created with the first topic; name its file with --from",)
        report = Report("unreadable_file", f"cannot read {name}: {words}", Exit.USAGE, file=name, helps=helps)
        raise CommandError(report) from error


def _entries(lines: BinaryIO, name: str) -> Iterator[AdminEntry]:
    """The entries; a line that its writer did not finish is reported and left out."""
    from dagmanager.terminal.report import show
    from dagmanager.topics.admin_log import InvalidLine, parse_entries

    for found in parse_entries(lines):
        if isinstance(found, InvalidLine):
            if not found.is_torn:
                raise _not_a_log(name, found.line, found.reason)
            message = "this line is incomplete, its writer was killed: it does not count"
            show(Report("log_incomplete", message, level="warning", file=name, line=found.line))
        else:
            yield found


def _not_a_log(name: str, line: int, reason: str) -> CommandError:
    shown = "<stdin>" if name == "-" else name
    message = f"line {line} is not an admin log entry: {reason}"
    return CommandError(Report("invalid_json", message, Exit.REFUSED, file=shown, line=line, column=1))


def _show(topics: list[TopicThen], *, wide: bool) -> None:
    from dagmanager.cli.framework.timestamp_argument import format_timestamp
    from dagmanager.terminal.table import Heading, table
    from dagmanager.terminal.text import columns

    heads = [
        Heading("topic", TOPIC_NARROWEST),
        Heading("partitions"),
        Heading("retention"),
        Heading("created"),
    ]
    rows: list[tuple[str, ...]] = []
    for each in topics:
        spec, created = each.spec, format_timestamp(each.created_ms)
        if wide:
            rest = (str(spec.replication), spec.cleanup_policy, each.namespace or "-", each.node_id)
            rows.append((each.topic, str(spec.partitions), f"{spec.retention_ms} ms", created, *rest))
        else:
            shown = created[:19].replace("T", " ")
            rows.append((each.topic, str(spec.partitions), _duration(spec.retention_ms), shown))
    if wide:
        heads += [Heading("replication"), Heading("cleanup"), Heading("namespace"), Heading("node")]
    print("\n".join(table(heads, rows, None if wide else columns()).lines))


def _duration(ms: int) -> str:
    """Days where they are whole, else seconds or milliseconds; -1 is unlimited, as Kafka has it."""
    if ms < 0:
        return "unlimited"
    if ms and ms % _DAY_MS == 0:
        return f"{ms // _DAY_MS} d"
    return f"{ms / 1000:g} s" if ms % 100 == 0 else f"{ms} ms"
