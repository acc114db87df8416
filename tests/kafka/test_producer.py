"""Deliveries are complete and in order, or an error: with a healthy, a silent, and an unreachable broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.errors import UnavailableError
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord
from operators.store_retry import RetryPolicy
from servers.kafka import KafkaServer
from servers.ports import free_port
from servers.proxy import Direction, FaultProxy
from servers.records import records
from tests.kafka.topics import NOWHERE, make, values
from tests.waiting import TIMEOUT_S, until

retry = RetryPolicy(time.sleep, lambda: False)


@pytest.fixture
def topic(kafka_admin: AdminClient, topic_prefix: str) -> str:
    return make(kafka_admin, f"{topic_prefix}out")


def numbered(topic: str, count: int, size: int = 1) -> list[OutgoingRecord]:
    return [OutgoingRecord(topic, b"k", b"%d" % number * size) for number in range(count)]


def test_all_arrive_in_order_with_keys_and_headers(kafka: str, topic: str) -> None:
    producer = KafkaProducer(KafkaAddress(kafka))
    sent = [OutgoingRecord(topic, b"k", b"%d" % number, (("a", b"1"), ("a", b"2"))) for number in range(500)]
    assert producer.deliver(sent) == ()
    assert producer.deliver([]) == ()
    found = records(kafka, topic)
    assert [message.value() for message in found] == [record.value for record in sent]
    assert {message.key() for message in found} == {b"k"}
    assert found[0].headers() == [("a", b"1"), ("a", b"2")]


def test_a_record_without_key_has_none(kafka: str, topic: str) -> None:
    KafkaProducer(KafkaAddress(kafka)).deliver([OutgoingRecord(topic, None, b"")])
    [message] = records(kafka, topic)
    assert (message.key(), message.value()) == (None, b"")


def test_keys_are_partitioned_as_by_other_clients(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}parts", 7)
    # Java's own values: murmur2(key) & 0x7fffffff mod 7.
    KafkaProducer(KafkaAddress(kafka)).deliver(
        [OutgoingRecord(topic, key, key) for key in (b"21", b"foobar")]
    )
    hashes = {b"21": -973932308, b"foobar": -790332482}
    found = {message.key(): message.partition() for message in records(kafka, topic)}
    assert found == {key: (value & 0x7FFFFFFF) % 7 for key, value in hashes.items()}


def test_more_records_than_the_client_can_queue_are_all_written(kafka: str, topic: str) -> None:
    small = KafkaAddress(kafka, {"queue.buffering.max.messages": "10"})
    records = numbered(topic, 300)
    assert KafkaProducer(small).deliver(records) == ()
    assert values(kafka, topic) == [record.value for record in records]


def test_too_large_records_are_returned_and_the_others_delivered(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}small", max_message_bytes="1000")
    large = b"x" * 5000
    records = numbered(topic, 3)
    records[1:1] = [OutgoingRecord(topic, b"k", large), OutgoingRecord(topic, b"k", b"y" * 100_000_000)]
    assert KafkaProducer(KafkaAddress(kafka)).deliver(records) == (1, 2)
    found = values(kafka, topic)
    assert found[-2:] == [b"1", b"2"]
    assert b"0" in found
    assert large not in found


def test_many_small_records_are_not_too_large_together(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}small", max_message_bytes="1000")
    records = numbered(topic, 20, size=150)
    assert KafkaProducer(KafkaAddress(kafka)).deliver(records) == ()
    assert values(kafka, topic)[-20:] == [record.value for record in records]


def test_records_that_fit_into_one_batch_are_one_request(kafka: str, topic: str) -> None:
    statistics: list[str] = []
    options: dict[str, Any] = {"statistics.interval.ms": "20", "stats_cb": statistics.append}
    producer = KafkaProducer(KafkaAddress(kafka, options), batch_bytes=900_000)
    producer.deliver(numbered(topic, 10, size=21_000))
    single, found = 0, list[int]()

    def counted() -> bool:
        """Statistics arrive with a delivery only, and count when they were taken between two deliveries."""
        nonlocal single
        # Longer than the interval of the statistics; `until` repeats it when it was too short.
        time.sleep(0.05)
        sent = single
        producer.deliver(numbered(topic, 1))
        single += 1
        for each in map(orjson.loads, statistics):
            if each["txmsgs"] == 10 + sent:
                found.append(sum(one["req"].get("Produce", 0) for one in each["brokers"].values()) - sent)
        return bool(found)

    until(counted)
    assert found[-1] == 1


def test_a_missing_topic_is_unavailable_and_never_created(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    absent = f"{topic_prefix}absent"
    with pytest.raises(UnavailableError, match=f"writing to topic {absent}.*topic"):
        KafkaProducer(KafkaAddress(kafka)).deliver(numbered(absent, 2))
    assert absent not in kafka_admin.list_topics(timeout=TIMEOUT_S).topics


def test_no_broker_is_unavailable_in_time_and_says_why() -> None:
    producer = KafkaProducer(KafkaAddress(NOWHERE, delivery_s=2.0))
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="refused"):
            producer.deliver(numbered("t", 3))
        assert time.monotonic() - began < 30  # the library waits a minute


def test_threads_share_a_producer(kafka: str, topic: str) -> None:
    producer = KafkaProducer(KafkaAddress(kafka))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: producer.deliver(numbered(topic, 25)), range(8)))
    assert done == [()] * 8
    assert len(values(kafka, topic)) == 200


@pytest.fixture(scope="module")
def far(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaServer, FaultProxy]]:
    """A broker for this file only, behind a proxy."""
    port = free_port()
    with FaultProxy(port) as proxy:
        folder = tmp_path_factory.mktemp("far")
        with KafkaServer(folder, port=port, advertised_port=proxy.port) as broker:
            yield broker, proxy


def test_a_silent_broker_is_unavailable_and_the_next_try_delivers(
    far: tuple[KafkaServer, FaultProxy],
) -> None:
    broker, proxy = far
    topic = make(AdminClient({"bootstrap.servers": broker.address}), "silent")
    producer = KafkaProducer(KafkaAddress(broker.address, delivery_s=1.5))
    records = numbered(topic, 3)
    retry(lambda: producer.deliver(records))
    proxy.stall(Direction.TO_SERVER, Direction.TO_CLIENT)
    with pytest.raises(UnavailableError, match="writing to topic silent"):
        producer.deliver(numbered(topic, 3))
    proxy.cut()
    proxy.forward()
    assert retry(lambda: producer.deliver(records)) == ()
    assert values(broker.address, topic)[-3:] == [b"0", b"1", b"2"]


def test_a_lost_acknowledgement_repeats_records_but_loses_none(
    far: tuple[KafkaServer, FaultProxy],
) -> None:
    broker, proxy = far
    topic = make(AdminClient({"bootstrap.servers": broker.address}), "unacknowledged")
    producer = KafkaProducer(KafkaAddress(broker.address, delivery_s=1.5))
    retry(lambda: producer.deliver(numbered(topic, 1)))
    pair = [OutgoingRecord(topic, b"k", b"a"), OutgoingRecord(topic, b"k", b"b")]
    proxy.stall(Direction.TO_CLIENT)
    with pytest.raises(UnavailableError):
        producer.deliver(pair)
    proxy.forward()
    retry(lambda: producer.deliver(pair))
    found = values(broker.address, topic)
    assert found[-2:] == [b"a", b"b"]
    assert set(found) == {b"0", b"a", b"b"}


def test_a_broken_connection_is_replaced_within_a_delivery(far: tuple[KafkaServer, FaultProxy]) -> None:
    broker, proxy = far
    topic = make(AdminClient({"bootstrap.servers": broker.address}), "broken")
    producer = KafkaProducer(KafkaAddress(broker.address, delivery_s=TIMEOUT_S))
    for number in range(5):
        proxy.cut()
        assert producer.deliver([OutgoingRecord(topic, b"k", b"%d" % number)]) == ()
    assert values(broker.address, topic) == [b"0", b"1", b"2", b"3", b"4"]
