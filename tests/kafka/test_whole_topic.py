"""A topic is read to the end that it had at the start, and every wait for a broker has a limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from dagmanager.errors import UnavailableError
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.whole_topic import OffsetRange, WholeTopic
from servers.kafka import KafkaServer
from tests.kafka.topics import NOWHERE, cut_before, fill, make
from tests.waiting import until


def test_every_partition_is_read_to_its_end_and_no_further(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}log", 3)
    fill(kafka, topic, [b"%d" % number for number in range(2_500)], partition=0)
    fill(kafka, topic, [b"a", None, b"c"], partition=2)
    with WholeTopic(KafkaAddress(kafka), topic, 3) as whole:
        assert whole.ranges == (OffsetRange(0, 0, 2_500), OffsetRange(1, 0, 0), OffsetRange(2, 0, 3))
        fill(kafka, topic, [b"late"] * 10, partition=0)
        fill(kafka, topic, [b"late"], partition=1)
        found = list(whole.records())
    assert [each.value for each in found if each.partition == 0] == [b"%d" % n for n in range(2_500)]
    assert [(each.offset, each.value) for each in found if each.partition == 2] == [
        (0, b"a"),
        (1, b""),
        (2, b"c"),
    ]
    assert len(found) == 2_503


def test_nothing_is_read_of_an_empty_topic(kafka: str, kafka_admin: AdminClient, topic_prefix: str) -> None:
    topic = make(kafka_admin, f"{topic_prefix}empty")
    with WholeTopic(KafkaAddress(kafka), topic, 1) as whole:
        assert list(whole.records()) == []


def test_the_range_begins_after_records_that_retention_deleted(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}cut")
    fill(kafka, topic, [b"0", b"1", b"2"])
    cut_before(kafka_admin, topic, 2)
    with WholeTopic(KafkaAddress(kafka), topic, 1) as whole:
        assert whole.ranges == (OffsetRange(0, 2, 3),)
        assert [each.offset for each in whole.records()] == [2]
    cut_before(kafka_admin, topic, 3)
    with WholeTopic(KafkaAddress(kafka), topic, 1) as whole:
        assert (whole.ranges, list(whole.records())) == ((OffsetRange(0, 3, 3),), [])


def test_no_broker_is_unavailable_in_time() -> None:
    began_s = time.monotonic()
    with pytest.raises(UnavailableError, match=r"^Kafka at 127\.0\.0\.1:1 \(reading topic log\).*refused"):
        WholeTopic(KafkaAddress(NOWHERE, request_s=1.0), "log", 1)
    assert time.monotonic() - began_s < 30


def test_a_last_offset_without_a_record_ends_the_partition(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    """A transaction writes a marker after its records, which consumers never see."""
    topic = make(kafka_admin, f"{topic_prefix}marked")
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"only")
    producer.commit_transaction(30)
    until(lambda: ranges_of(kafka, topic) == (OffsetRange(0, 0, 2),))  # the marker is written a moment later
    with WholeTopic(KafkaAddress(kafka), topic, 1) as whole:
        assert [each.value for each in whole.records()] == [b"only"]


def ranges_of(servers: str, topic: str) -> tuple[OffsetRange, ...]:
    with WholeTopic(KafkaAddress(servers), topic, 1) as whole:
        return whole.ranges


def test_a_broker_that_falls_silent_while_it_is_read_is_unavailable(kafka: str, tmp_path: Path) -> None:
    """`kafka` makes sure that the jars are fetched."""
    with KafkaServer(tmp_path / "broker") as broker:
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        fill(broker.address, make(admin, "log"), [b"x"] * 10)
        with WholeTopic(KafkaAddress(broker.address, request_s=2.0), "log", 1) as whole:
            broker.pause()
            with pytest.raises(UnavailableError, match="reading topic log"):
                list(whole.records())
            broker.resume()
