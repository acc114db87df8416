"""What `run` prints: each refused submission with its place and cause, the totals last."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest

from dagmanager.dag.model import Origin, Record
from dagmanager.engine.stages import Refused
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.kafka import topic_id_leak_workaround
from dagmanager.kafka.topic_id_leak_workaround import TopicIds
from dagmanager.settings.table import Settings
from dagmanager.terminal.progress import StatusLine
from examples.submissions import first_submissions
from flows.refusals import SHOWN_MAX, WINDOW_SECONDS, RefusalLog, refusal_report
from flows.runner import _report_leak
from flows.tally import Tally
from tests.cli.running import call

UNKNOWN = b'{"strategy_id": "reversal", "dag": {"nodes": [{"node_type": "N", "code_hash": "c"}]}}'
WHY = Rejection(ErrorCode.MISSING_FIELDS, "/nodes/0: a field is missing", field="/nodes/0")


def refused(number: int = 1) -> Refused:
    return Refused(Record(b"", Origin("/in.jsonl", position=number), b"k"), "reversal", WHY)


def test_each_refused_line_is_named_as_it_happens_and_the_totals_last(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([first_submissions()[0], b"nonsense", UNKNOWN]))
    done = call("run", "--submissions", "in.jsonl", "--results", "out", cwd=tmp_path)
    assert done.code == 0
    help_line = r"  help: `dagmanager explain-error {}` explains this code\n"
    invalid = r"error\[invalid_json\]: .*\n  --> in.jsonl:2\n" + help_line.format("invalid_json")
    assert re.search(invalid, done.err)
    missing = r"error\[missing_fields\]: .*\n  --> in.jsonl:3  /nodes/0/node_id\n  strategy: reversal\n"
    missing += help_line.format("missing_fields")
    assert re.search(missing, done.err)
    assert "3 submissions answered: 1 ok, 2 refused" in done.err.splitlines()[-1]


@pytest.mark.parametrize(("lines", "code"), [([b"nonsense"], 1), ([first_submissions()[0]], 0)])
def test_fail_on_refused_is_an_exit_code(lines: list[bytes], code: int, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    words = ("run", "--submissions", "in.jsonl", "--results", "out", "--fail-on-refused")
    assert call(*words, cwd=tmp_path).code == code


def test_a_topic_s_place_is_partition_and_offset() -> None:
    report = refusal_report(WHY, Origin("dagmanager.submissions", "id", 3, 42), "reversal")
    assert report.as_text() == (
        "error[missing_fields]: a field is missing\n"
        "  --> topic dagmanager.submissions, partition 3, offset 42  /nodes/0\n"
        "  strategy: reversal"
    )


def test_many_refusals_are_counted_and_shown_again_after_a_while() -> None:
    out, now = io.StringIO(), [0.0]
    log = RefusalLog(StatusLine(out), lambda: now[0])
    for number in range(SHOWN_MAX + 5):
        log.note(refused(number))
    assert out.getvalue().count("error[") == SHOWN_MAX
    now[0] += WINDOW_SECONDS
    log.note(refused(99))
    assert out.getvalue().count("error[") == SHOWN_MAX + 1
    assert out.getvalue().index("and 5 more refusals") < out.getvalue().index("in.jsonl:99")
    log.finish()
    assert (out.getvalue().count("more refusals"), log.count) == (1, SHOWN_MAX + 6)


def test_only_the_first_refusal_of_a_code_says_what_explains_it() -> None:
    out = io.StringIO()
    log = RefusalLog(StatusLine(out))
    log.note(refused(1))
    log.note(refused(2))
    assert out.getvalue().count("explain-error missing_fields") == 1
    assert out.getvalue().index("explain-error") < out.getvalue().index("in.jsonl:2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", "65"), "--workers takes 1 to 64, not 65"),
        (("--epoch-seconds", "-1"), "--epoch-seconds takes 0 to 3600, not -1"),
        (("--submissions", "absent.jsonl"), "--submissions: "),
    ],
)
def test_an_invalid_option_is_named(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = call("run", "--results", "out", *words, cwd=tmp_path)
    assert done.code == 2
    assert f"error[settings]: {message}" in done.err


def test_the_summary_names_each_kind_of_refusal() -> None:
    tally = Tally()
    for status in ("ok", "expired", "missing_fields", "missing_fields"):
        tally.answered(status)
    assert tally.summary() == "4 submissions answered: 1 ok, 3 refused (1 expired, 2 missing_fields)"


def test_a_run_without_submissions_has_a_summary_too() -> None:
    assert Tally().summary() == "0 submissions answered: 0 ok, 0 refused"


def test_each_wait_is_named_with_its_reason_until_it_ends() -> None:
    tally = Tally()
    assert tally.heartbeat_text() == "ok"
    tally.waiting("lookup", "neo4j is unreachable:\nrefused")
    tally.waiting("diffs", "Kafka is unreachable")
    assert (
        tally.heartbeat_text()
        == "waiting: lookup: neo4j is unreachable: refused\nwaiting: diffs: Kafka is unreachable"
    )
    tally.waiting("lookup", "")
    tally.waiting("diffs", "")
    assert tally.heartbeat_text() == "ok"


@pytest.mark.parametrize(
    ("servers", "leaked", "shown"),
    [
        ("127.0.0.1:9092", 3, ["the Kafka client library leaked 3 topic ids, about 100 bytes each"]),
        ("127.0.0.1:9092", 0, []),
        ("", 3, []),
    ],
)
def test_the_end_of_a_run_with_kafka_names_how_many_topic_ids_leaked(
    servers: str,
    leaked: int,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Leaky(TopicIds):
        def leaked(self) -> int:
            return leaked

    monkeypatch.setattr(topic_id_leak_workaround, "TOPIC_IDS", Leaky(("other", "versions", "")))
    with caplog.at_level(logging.WARNING, "flows.runner"):
        _report_leak(Settings(kafka_dsn=servers))
    assert [record.getMessage() for record in caplog.records] == shown
