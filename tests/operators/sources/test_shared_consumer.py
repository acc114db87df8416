from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AdminClient

from dagmanager.errors import SettingsError
from dagmanager.kafka.options import KafkaAddress
from operators.sources.shared_consumer import SharedConsumer
from tests.kafka.topics import fill, make
from tests.waiting import until

PARTITIONS = 3


@pytest.fixture
def topic(kafka_admin: AdminClient, topic_prefix: str) -> str:
    return make(kafka_admin, f"{topic_prefix}inbox", PARTITIONS)


def opened(kafka: str, topic: str, *numbers: int) -> SharedConsumer:
    inbox = SharedConsumer(KafkaAddress(kafka), 64)
    for number in numbers:
        inbox.open(TopicPartition(topic, number, OFFSET_BEGINNING))
    return inbox


def taken(inbox: SharedConsumer, *numbers: int) -> Callable[[int], dict[int, list[bytes | None]]]:
    """All partitions are asked in turns, as a worker does, until so many records have come. Ends of partitions are left out."""
    found: dict[int, list[bytes | None]] = {number: [] for number in numbers}

    def come(count: int) -> dict[int, list[bytes | None]]:
        def all_there() -> bool:
            for number in numbers:
                found[number] += [each.value() for each in inbox.take(number) if each.error() is None]
            return sum(map(len, found.values())) >= count

        until(all_there)
        return found

    return come


def test_each_partition_gets_its_own_records_in_order(kafka: str, topic: str) -> None:
    for number in range(PARTITIONS):
        fill(kafka, topic, [b"%d %d" % (number, each) for each in range(100)], number)
    inbox = opened(kafka, topic, 0, 1, 2)
    found = taken(inbox, 0, 1, 2)(300)
    assert found == {number: [b"%d %d" % (number, each) for each in range(100)] for number in range(3)}
    for number in range(PARTITIONS):
        inbox.close(TopicPartition(topic, number))


def test_one_partition_waits_for_the_broker_and_the_others_do_not(kafka: str, topic: str) -> None:
    inbox = opened(kafka, topic, 1, 2)
    fill(kafka, topic, [b"first"], 2)
    assert taken(inbox, 1, 2)(1) == {1: [], 2: [b"first"]}
    fill(kafka, topic, [b"second"], 2)
    until(lambda: inbox.ends(TopicPartition(topic, 2))[1] == 2, "the library did not receive the record")
    for _ in range(100):
        assert inbox.take(2) == []  # only partition 1 asks the library
    assert taken(inbox, 1, 2)(1) == {1: [], 2: [b"second"]}
    for number in (1, 2):
        inbox.close(TopicPartition(topic, number))


def test_a_partition_that_is_closed_leaves_the_others_to_be_read(kafka: str, topic: str) -> None:
    inbox = opened(kafka, topic, 0, 1)
    inbox.close(TopicPartition(topic, 0))
    fill(kafka, topic, [b"unread"], 0)
    fill(kafka, topic, [b"read"], 1)
    assert taken(inbox, 1)(1) == {1: [b"read"]}
    assert not inbox.is_closed
    inbox.close(TopicPartition(topic, 1))
    assert inbox.is_closed


def test_how_far_a_partition_goes_is_known_while_it_is_open(kafka: str, topic: str) -> None:
    fill(kafka, topic, [b"0", b"1"], 0)
    inbox, place = opened(kafka, topic, 0), TopicPartition(topic, 0)
    taken(inbox, 0)(2)
    assert inbox.ends(place) == (0, 2)
    inbox.close(place)
    assert inbox.ends(place)[1] < 0


def test_what_the_library_refuses_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="kafka_options"):
        SharedConsumer(KafkaAddress("x:1", options={"no.such.option": "1"}), 64)
