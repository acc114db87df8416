"""Deliveries are whole and in order, or an error: on a broker that answers, is silent, or is not there."""

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

patiently = RetryPolicy(time.sleep, lambda: False)


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


def test_a_key_goes_where_other_clients_would_send_it(
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


def test_more_than_the_client_can_hold_is_written_piece_by_piece(kafka: str, topic: str) -> None:
    small = KafkaAddress(kafka, {"queue.buffering.max.messages": "10"})
    records = numbered(topic, 300)
    assert KafkaProducer(small).deliver(records) == ()
    assert values(kafka, topic) == [record.value for record in records]


def test_what_is_too_large_is_named_and_the_others_are_delivered(
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


def test_many_small_ones_are_not_too_large_together(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    topic = make(kafka_admin, f"{topic_prefix}small", max_message_bytes="1000")
    records = numbered(topic, 20, size=150)
    assert KafkaProducer(KafkaAddress(kafka)).deliver(records) == ()
    assert values(kafka, topic)[-20:] == [record.value for record in records]


def test_what_fits_goes_over_the_wire_at_once(kafka: str, topic: str) -> None:
    told: list[str] = []
    # The library's own count of requests, told while it is at work.
    options: dict[str, Any] = {"statistics.interval.ms": "50", "stats_cb": told.append}
    producer = KafkaProducer(KafkaAddress(kafka, options), batch_bytes=900_000)

    def requests() -> int:
        """Up to now; what waited in the client is heard with the next delivery, one request more."""
        told.clear()
        time.sleep(0.3)
        producer.deliver(numbered(topic, 1))
        return sum(each["req"].get("Produce", 0) for each in orjson.loads(told[0])["brokers"].values())

    before = requests()
    producer.deliver(numbered(topic, 10, size=21_000))
    assert requests() - before == 2


def test_a_missing_topic_is_unavailable_and_never_made(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str
) -> None:
    absent = f"{topic_prefix}absent"
    with pytest.raises(UnavailableError, match=f"writing to topic {absent}.*topic"):
        KafkaProducer(KafkaAddress(kafka)).deliver(numbered(absent, 2))
    assert absent not in kafka_admin.list_topics(timeout=30).topics


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
    """A broker of this file alone, behind a proxy."""
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
    patiently(lambda: producer.deliver(records))
    proxy.stall(Direction.TO_SERVER, Direction.TO_CLIENT)
    with pytest.raises(UnavailableError, match="writing to topic silent"):
        producer.deliver(numbered(topic, 3))
    proxy.cut()
    proxy.forward()
    assert patiently(lambda: producer.deliver(records)) == ()
    assert values(broker.address, topic)[-3:] == [b"0", b"1", b"2"]


def test_an_acknowledgement_that_is_lost_makes_a_repeat_but_no_loss(
    far: tuple[KafkaServer, FaultProxy],
) -> None:
    broker, proxy = far
    topic = make(AdminClient({"bootstrap.servers": broker.address}), "unheard")
    producer = KafkaProducer(KafkaAddress(broker.address, delivery_s=1.5))
    patiently(lambda: producer.deliver(numbered(topic, 1)))
    pair = [OutgoingRecord(topic, b"k", b"a"), OutgoingRecord(topic, b"k", b"b")]
    proxy.stall(Direction.TO_CLIENT)
    with pytest.raises(UnavailableError):
        producer.deliver(pair)
    proxy.forward()
    patiently(lambda: producer.deliver(pair))
    found = values(broker.address, topic)
    assert found[-2:] == [b"a", b"b"]
    assert set(found) == {b"0", b"a", b"b"}


def test_a_connection_that_breaks_is_mended_within_a_delivery(far: tuple[KafkaServer, FaultProxy]) -> None:
    broker, proxy = far
    topic = make(AdminClient({"bootstrap.servers": broker.address}), "broken")
    producer = KafkaProducer(KafkaAddress(broker.address))
    for number in range(5):
        proxy.cut()
        assert producer.deliver([OutgoingRecord(topic, b"k", b"%d" % number)]) == ()
    assert values(broker.address, topic) == [b"0", b"1", b"2", b"3", b"4"]
