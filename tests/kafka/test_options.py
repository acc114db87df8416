from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from dagmanager.errors import SettingsError
from dagmanager.kafka.admin import RECORDS_MAX, TOPICS_PER_REQUEST, AdminRequest, KafkaAdmin, creation_chunks
from dagmanager.kafka.options import (
    FIXED,
    RESERVED,
    KafkaAddress,
    admin_options,
    client,
    consumer_options,
    producer_options,
)
from dagmanager.kafka.producer import KafkaProducer
from tests.kafka.topics import NOWHERE


def test_the_library_accepts_every_option_that_we_set() -> None:
    address = KafkaAddress(NOWHERE)
    client(AdminClient, admin_options(address))
    client(Producer, producer_options(address))
    client(Consumer, consumer_options(address)).close()


def test_users_add_and_tune_options() -> None:
    address = KafkaAddress("k:1", {"security.protocol": "ssl", "queued.min.messages": "7"})
    for options in (admin_options(address), consumer_options(address), producer_options(address)):
        assert options["security.protocol"] == "ssl"
        assert options["bootstrap.servers"] == "k:1"
    assert consumer_options(address)["queued.min.messages"] == "7"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_options_that_a_guarantee_depends_on_cannot_be_set(name: str) -> None:
    with pytest.raises(SettingsError, match=f"kafka_options: {name} cannot be set"):
        consumer_options(KafkaAddress("k:1", {name: "x"}))


def test_reading_never_skips_and_writing_is_always_acknowledged() -> None:
    reading, writing = consumer_options(KafkaAddress("k:1")), producer_options(KafkaAddress("k:1"))
    assert {
        name: options[name] for options in (reading, writing) for name in FIXED if name in options
    } == FIXED


@pytest.mark.parametrize(
    "options", [{"no.such.option": "1"}, {"security.protocol": "pigeon"}, {"ssl.ca.location": "nowhere.pem"}]
)
def test_an_option_that_the_library_rejects_is_a_settings_error(
    options: dict[str, str],
) -> None:
    given = KafkaAddress(NOWHERE, {"security.protocol": "ssl", **options})
    for make in (KafkaAdmin, KafkaProducer):
        with pytest.raises(SettingsError, match=r"^kafka_options: "):
            make(given)


def test_an_address_never_shows_its_options() -> None:
    assert "hunter2" not in repr(KafkaAddress("k:1", {"sasl.password": "hunter2"}))


def test_our_delivery_limit_ends_before_that_of_the_library() -> None:
    options = producer_options(KafkaAddress("k:1", delivery_s=5.0))
    assert options["message.timeout.ms"] == 10_000


@pytest.mark.parametrize(
    ("topics", "partitions"),
    [(0, 1), (1, 1), (TOPICS_PER_REQUEST, 1), (2 * TOPICS_PER_REQUEST + 1, 1), (700, 30), (3, 9_500)],
)
def test_creation_requests_stay_below_the_limits_of_a_controller(topics: int, partitions: int) -> None:
    wanted = {f"t{number}": AdminRequest(partitions, 1, {"a": "1", "b": "2"}) for number in range(topics)}
    chunks = list(creation_chunks(wanted))
    assert [name for chunk in chunks for name in chunk] == list(wanted)
    for chunk in chunks:
        assert len(chunk) <= TOPICS_PER_REQUEST
        assert len(chunk) == 1 or sum(wanted[name].records() for name in chunk) <= RECORDS_MAX
