"""`topics history` where the log is a topic: read to its end, and an unreachable broker is reported in time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.engine.model.admin_log_port import AdminAction
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.topics.kafka_admin_log import KafkaAdminLog
from tests.cli.commands.test_topics_history import NOON, NOON_MS, entry
from tests.cli.neo4j_words import say
from tests.kafka.topics import NOWHERE, cut_before, fill, make
from tests.waiting import TIMEOUT_S

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def log(kafka: str, kafka_admin: AdminClient, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The log's topic, as the settings name it."""
    topic = make(kafka_admin, f"{topic_prefix}admin-log", 2)
    monkeypatch.setenv("DAGMANAGER_KAFKA_DSN", kafka)
    monkeypatch.setenv("DAGMANAGER_ADMIN_LOG_TOPIC", topic)
    producer = KafkaProducer(KafkaAddress(kafka))
    KafkaAdminLog(producer, topic).append(
        [
            entry("w.live.a", NOON_MS - 2),
            entry("b", NOON_MS - 1),
            entry("c", NOON_MS),
            entry("b", NOON_MS, AdminAction.LOST),
            entry("w.live.a", NOON_MS + 1, AdminAction.DELETE),
        ]
    )
    return topic


def test_the_topics_of_a_moment_from_the_topic(log: str) -> None:
    done = say("topics", "history", "--at", NOON)
    assert (done.code, done.err) == (0, "2 topics at 2026-11-23T12:00:00.000Z\n")
    assert [line.split()[0] for line in done.out.splitlines()] == ["topic", "c", "w.live.a"]
    shown = json.loads(say("topics", "history", "--at", str(NOON_MS + 1), "--json").out)
    assert shown["log"] == f"topic {log}"
    assert [topic["topic"] for topic in shown["topics"]] == ["c"]


def test_a_file_that_is_named_goes_before_the_topic(log: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(b"")
    assert say("topics", "history", "--at", NOON, "--from", str(copy)).err.startswith("0 topics")


def test_a_record_that_is_no_entry_is_refused_with_its_place(log: str, kafka: str) -> None:
    fill(kafka, log, [b'{"channel": "queue"}'], partition=1)
    done = say("topics", "history", "--at", NOON)
    assert (done.code, done.out) == (1, "")
    assert f"topic {log}, partition 1, offset" in done.err
    assert "is not an admin log entry" in done.err


def test_records_that_retention_took_are_warned_of(log: str, kafka: str, kafka_admin: AdminClient) -> None:
    fill(kafka, log, [b""], partition=0)  # so that there is something to lose
    cut_before(kafka_admin, log, 1)
    done = say("topics", "history", "--at", NOON)
    assert done.code == 0
    assert f"warning[log_incomplete]: {log} has lost its first 1 records (partition 0)" in done.err


def test_a_missing_topic_is_named_with_the_command_that_creates_it(
    log: str, monkeypatch: pytest.MonkeyPatch, kafka_admin: AdminClient
) -> None:
    missing = f"{log}-none"
    monkeypatch.setenv("DAGMANAGER_ADMIN_LOG_TOPIC", missing)
    done = say("topics", "history", "--at", NOON)
    assert (done.code, done.out) == (2, "")
    assert f"admin_log_topic: topic {missing} is missing" in done.err
    assert missing not in kafka_admin.list_topics(timeout=TIMEOUT_S).topics


def test_an_unreachable_broker_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGMANAGER_KAFKA_DSN", NOWHERE)
    monkeypatch.setenv("DAGMANAGER_KAFKA_REQUEST_SECONDS", "1")
    done = say("topics", "history", "--at", NOON)
    assert (done.code, done.out) == (4, "")
    assert f"Kafka at {NOWHERE}" in done.err
