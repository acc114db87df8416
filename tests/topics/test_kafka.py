"""Real brokers only: bulk requests, translated errors, and no broker at all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateStatus
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.topics.kafka import KafkaTopics
from tests.kafka.topics import NOWHERE
from tests.waiting import TIMEOUT_S, until

SPEC = TopicSpec(1, 1, 60_000)


@pytest.fixture
def topics(kafka: str) -> KafkaTopics:
    return KafkaTopics(KafkaAdmin(KafkaAddress(kafka, request_s=TIMEOUT_S)))


def test_more_topics_than_fit_into_one_request(kafka: str, topic_prefix: str) -> None:
    topics = KafkaTopics(KafkaAdmin(KafkaAddress(kafka, request_s=TIMEOUT_S), chunk=8))
    names = [f"{topic_prefix}{number}" for number in range(20)]
    made = topics.create(dict.fromkeys(names, SPEC))
    assert {result.status for result in made.values()} == {CreateStatus.CREATED}
    until(lambda: sum(info.ready for info in topics.describe(names).values()) == len(names))
    assert set(topics.configs(names)) == set(names)
    again = topics.create(dict.fromkeys(names, SPEC))
    assert {result.status for result in again.values()} == {CreateStatus.EXISTS}
    topics.delete(names)
    until(lambda: not topics.describe(names))


def test_colliding_names_in_one_request_are_both_created_so_the_graph_must_prevent_them(
    topics: KafkaTopics, topic_prefix: str
) -> None:
    twins = [f"{topic_prefix}a.b", f"{topic_prefix}a_b"]
    made = topics.create(dict.fromkeys(twins, SPEC))
    assert [made[name].status for name in twins] == [CreateStatus.CREATED] * 2


def test_names_that_no_broker_accepts_are_refused_without_a_request() -> None:
    nowhere = KafkaTopics(KafkaAdmin(KafkaAddress(NOWHERE, request_s=30.0)))
    assert nowhere.create({"a b": SPEC})["a b"].status is CreateStatus.REFUSED
    assert [dict(nowhere.create({})), dict(nowhere.describe([])), dict(nowhere.configs([]))] == [{}, {}, {}]
    nowhere.delete([])


def test_the_brokers_own_topics_are_never_deleted(topics: KafkaTopics) -> None:
    with pytest.raises(SettingsError, match="__consumer_offsets"):
        topics.delete(["a", "__consumer_offsets"])


@pytest.mark.parametrize("method", ["brokers", "describe", "configs", "create", "delete"])
def test_no_broker_is_unavailable_in_time_and_says_why(method: str) -> None:
    nowhere = KafkaTopics(KafkaAdmin(KafkaAddress(NOWHERE, request_s=2.0)))
    calls: dict[str, Callable[[], object]] = {
        "brokers": nowhere.brokers,
        "describe": lambda: nowhere.describe(["a"]),
        "configs": lambda: nowhere.configs(["a"]),
        "create": lambda: nowhere.create({"a": SPEC, "b": SPEC}),
        "delete": lambda: nowhere.delete(["a"]),
    }
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"^Kafka at 127\.0\.0\.1:1 \(.*refused"):
        calls[method]()
    assert time.monotonic() - began < 30  # the library waits a minute


def test_a_wrong_protocol_is_named_and_not_only_a_timeout(kafka: str) -> None:
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": "u", "sasl.password": "hunter2"}
    topics = KafkaTopics(KafkaAdmin(KafkaAddress(kafka, options, request_s=2.0)))
    with pytest.raises(UnavailableError) as caught:
        topics.brokers()
    assert "SASL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_describing_creates_no_topic(
    topics: KafkaTopics, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    absent = f"{topic_prefix}absent"
    assert (dict(topics.describe([absent])), dict(topics.configs([absent]))) == ({}, {})
    assert absent not in kafka_admin.list_topics(timeout=TIMEOUT_S).topics


def test_the_command_line_and_the_assembly_load_no_kafka_client() -> None:
    code = "import sys, dagmanager.cli.main, dagmanager.assembly, sinks.diff_chunks, sinks.dead_letters; print('confluent_kafka' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
