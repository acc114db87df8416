"""A private broker: what chaos tests may do to it. Each test leaves it running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from servers.kafka import MESSAGE_BYTES, KafkaCluster, KafkaServer
from servers.launch import Launch
from servers.ports import is_open
from servers.process import ServerError
from servers.proxy import FaultProxy
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def broker(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path_factory.mktemp("kafka"), launch=launch) as started:
        yield started


def admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address, "log_level": 0})


def create(address: str, topic: str, copies: int = 1) -> None:
    client = admin(address)  # kept: its requests end with it
    client.create_topics([NewTopic(topic, 1, copies)])[topic].result(TIMEOUT_S)


def write(address: str, topic: str, value: bytes) -> None:
    failed: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": address,
            "log_level": 0,
            "message.max.bytes": MESSAGE_BYTES,
            "acks": "all",
        }
    )
    producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(TIMEOUT_S) == 0
    assert not failed


def read(address: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": address, "log_level": 0, "group.id": "unused"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        record = consumer.poll(TIMEOUT_S)
        assert record is not None
        return record.value()
    finally:
        consumer.close()


def test_a_broker_killed_and_restarted_keeps_its_address_and_records(broker: KafkaServer) -> None:
    address = broker.address
    create(address, "kept")
    write(address, "kept", b"before")
    broker.kill()
    assert not broker.is_running
    assert not is_open(broker.port)
    broker.start()
    assert broker.address == address
    assert read(address, "kept") == b"before"


def test_the_largest_submission_fits_into_a_record(broker: KafkaServer) -> None:
    largest = b"x" * (8 * 1024 * 1024)
    create(broker.address, "large")
    write(broker.address, "large", largest)
    assert read(broker.address, "large") == largest


def test_requesting_metadata_creates_no_topic(broker: KafkaServer) -> None:
    metadata = admin(broker.address).list_topics("misspelt", timeout=TIMEOUT_S)
    assert metadata.topics["misspelt"].error is not None
    assert "misspelt" not in admin(broker.address).list_topics(timeout=TIMEOUT_S).topics


def test_a_paused_broker_keeps_connections_and_replies_once_resumed(broker: KafkaServer) -> None:
    client = admin(broker.address)
    client.list_topics(timeout=TIMEOUT_S)
    broker.pause()
    try:
        assert is_open(broker.port)
        with pytest.raises(KafkaException):
            client.list_topics(timeout=0.5)
    finally:
        broker.resume()
    client.list_topics(timeout=TIMEOUT_S)


def test_clients_connect_to_the_proxy_that_a_broker_advertises(launch: Launch, tmp_path: Path) -> None:
    proxy = FaultProxy(server_port=0)
    broker = KafkaServer(tmp_path, advertised_port=proxy.port, launch=launch)
    proxy.server_port = broker.port
    with proxy, broker:
        (seen,) = admin(f"127.0.0.1:{broker.port}").list_topics(timeout=TIMEOUT_S).brokers.values()
        assert f"{seen.host}:{seen.port}" == proxy.address == broker.address
        client = admin(broker.address)
        client.list_topics(timeout=TIMEOUT_S)
        proxy.stall()
        with pytest.raises(KafkaException):
            client.list_topics(timeout=0.5)
        proxy.forward()
        client.list_topics(timeout=TIMEOUT_S)


def test_three_brokers_continue_without_one(launch: Launch, tmp_path: Path) -> None:
    with KafkaCluster(tmp_path, 3, launch=launch) as cluster:
        create(cluster.address, "copied", copies=3)
        write(cluster.address, "copied", b"before")
        cluster.brokers[0].kill()
        assert read(cluster.address, "copied") == b"before"
        write(cluster.address, "copied", b"after")
        cluster.brokers[0].start()


def test_a_broker_that_cannot_start_shows_its_log(launch: Launch, tmp_path: Path) -> None:
    server = KafkaServer(tmp_path, settings={"process.roles": "sorcerer"}, launch=launch)
    with pytest.raises(ServerError, match=r"(?s)ended during its start.*sorcerer"):
        server.start()


@pytest.mark.parametrize("state", ["running", "pause"])
def test_a_server_dies_with_an_owner_that_was_killed(launch: Launch, tmp_path: Path, state: str) -> None:
    command = [sys.executable, "-m", "tests.servers.owner", str(tmp_path), state]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        os.kill(server, 0)
        owner.kill()
    until(lambda: not is_alive(server), "it outlived its owner")


def is_alive(process: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
