from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from dagmanager.cli.framework.timestamp_argument import format_timestamp, parse_timestamp
from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.terminal.report import CommandError
from dagmanager.topics.admin_log import FileAdminLog
from dagmanager.topics.sqlite import SqliteTopics
from examples.submissions import first_submissions
from tests.cli.neo4j_words import say
from tests.cli.running import call

pytestmark = pytest.mark.usefixtures("no_settings")
NOON_MS = 1_795_435_200_000
NOON = "2026-11-23T12:00:00Z"


def entry(topic: str, at_ms: int, action: AdminAction = AdminAction.CREATE) -> AdminEntry:
    return AdminEntry(
        action, topic, f"id-{topic}", TopicSpec(3, 1, 7_000), "blake3:n", "w.live", "claim", at_ms
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "admin-log.jsonl"
    FileAdminLog(path).append(
        [
            entry("w.live.a", NOON_MS - 2),
            entry("b", NOON_MS),
            entry("w.live.a", NOON_MS + 1, AdminAction.DELETE),
        ]
    )
    return path


def test_the_topics_of_a_moment_as_a_table(log: Path) -> None:
    done = call("topics", "history", "--at", NOON, "--from", str(log))
    assert (done.code, done.err) == (0, "2 topics at 2026-11-23T12:00:00.000Z\n")
    heads, first, second = done.out.splitlines()
    assert heads.split() == ["topic", "partitions", "retention", "created"]
    assert first.split() == ["b", "3", "7", "s", "2026-11-23", "12:00:00"]
    assert second.split() == ["w.live.a", "3", "7", "s", "2026-11-23", "11:59:59"]
    wide = call("topics", "history", "--at", NOON, "--from", str(log), "--wide").out.splitlines()[-1]
    assert wide.split() == [
        "w.live.a",
        "3",
        "7000",
        "ms",
        "2026-11-23T11:59:59.998Z",
        "1",
        "delete",
        "w.live",
        "blake3:n",
    ]


def test_the_same_as_json(log: Path) -> None:
    shown = json.loads(say("topics", "history", "--at", str(NOON_MS + 1), "--from", str(log), "--json").out)
    assert (shown["at"], shown["at_ms"]) == ("2026-11-23T12:00:00.001Z", NOON_MS + 1)
    [topic] = shown["topics"]
    assert topic == {
        "topic": "b", "topic_id": "id-b", "node_id": "blake3:n", "namespace": "w.live", "claim_id": "claim",
        "created_ms": NOON_MS,
        "spec": {"partitions": 3, "replication": 1, "retention_ms": 7_000, "cleanup_policy": "delete"},
    }  # fmt: skip


def test_the_log_is_found_by_the_settings_or_read_from_stdin(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGMANAGER_RESULTS_PATH", str(log.parent))
    found = say("topics", "history", "--at", NOON)
    assert (found.code, found.out.count("\n")) == (0, 3)
    piped = call("topics", "history", "--at", NOON, "--from", "-", stdin=log.read_bytes())
    assert piped.out == found.out


def test_a_line_that_its_writer_did_not_finish_is_reported_and_left_out(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole[:25] + b"\n\n" + whole)
    done = say("topics", "history", "--at", NOON, "--from", str(log))
    assert done.code == 0
    assert done.err.startswith("warning[log_incomplete]: this line is incomplete")
    assert f"--> {log}:1" in done.err
    assert done.err.endswith("2 topics at 2026-11-23T12:00:00.000Z\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"channel": "queue"}', "missing required field"),
        (b"not JSON at all", "line 5"),
        (b"[1, 2]", "line 5"),
        (b"\xff\xfe", "line 5"),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_its_line(log: Path, line: bytes, said: str) -> None:
    log.write_bytes(log.read_bytes() + b"\n" + line + b"\n")
    done = say("topics", "history", "--at", NOON, "--from", str(log))
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert f"--> {log}:5:1" in done.err


def test_an_action_of_a_newer_release_is_not_guessed_at(log: Path) -> None:
    newer = msgspec.json.encode(entry("a", NOON_MS)).replace(b'"create"', b'"enlarge"')
    log.write_bytes(log.read_bytes() + newer + b"\n")
    done = say("topics", "history", "--at", NOON, "--from", str(log))
    assert done.code == 1
    assert "Invalid enum value 'enlarge'" in done.err


def test_no_log_is_a_clean_error(tmp_path: Path) -> None:
    done = say("topics", "history", "--at", NOON, "--from", str(tmp_path / "none"))
    assert done.code == 2
    assert "created with the first topic" in done.err


def test_what_a_run_made_is_found_again(tmp_path: Path) -> None:
    """Through the entry points that write and read: the flow, its log, this command."""
    submissions, store, results = tmp_path / "in.jsonl", tmp_path / "store.sqlite", tmp_path / "results"
    submissions.write_bytes(b"".join(each + b"\n" for each in first_submissions()))
    ran = call(
        "run", "--submissions", str(submissions), "--results", str(results), "--store", str(store)
    )  # fmt: skip
    assert ran.code == 0, ran.err
    at = "9999-12-31"
    done = call("topics", "history", "--at", at, "--from", str(results / "admin-log.jsonl"), "--json")
    found = [topic["topic"] for topic in json.loads(done.out)["topics"]]
    assert tuple(found) == SqliteTopics(SqliteFile(store)).names()
    assert found


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        (NOON, NOON_MS),
        ("2026-11-23T12:00:00", NOON_MS),
        ("2026-11-23T13:00:00.0019+01:00", NOON_MS + 1),
        ("2026-11-23", NOON_MS - 43_200_000),
        (str(NOON_MS), NOON_MS),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_timestamps_as_people_write_them(text: str, at_ms: int) -> None:
    assert parse_timestamp(text) == at_ms
    assert parse_timestamp(format_timestamp(at_ms)) == at_ms


@pytest.mark.parametrize("text", ["", "noon", "1795435200", "20261123", "-5", "2026-13-01"])
def test_what_is_not_a_timestamp_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandError, match="is not a timestamp"):
        parse_timestamp(text)


def test_a_time_outside_the_calendar_is_shown_as_its_number() -> None:
    assert format_timestamp(parse_timestamp("0001-01-01T00:00+23:59")) == "-62135683140000 ms"


def test_seconds_are_not_taken_for_milliseconds() -> None:
    assert "add 000" in call("topics", "history", "--at", "1795435200").err
