"""Creates and fills topics on the session's broker, with plain clients."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    NewTopic,
)

from servers.records import records
from tests.waiting import TIMEOUT_S, until

NOWHERE = "127.0.0.1:1"
# A killed broker may rejoin when its old session has ended: after 9 s by default.
SOON_BACK = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}


def make(admin: AdminClient, topic: str, partitions: int = 1, /, **config: str) -> str:
    """Create a topic, wait until it is known, return its name. Config names have `_` for `.`."""
    named = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, config=named)])[topic].result(TIMEOUT_S)
    until(lambda: topic in admin.list_topics(timeout=TIMEOUT_S).topics)
    return topic


def remove(admin: AdminClient, topic: str) -> None:
    admin.delete_topics([topic])[topic].result(TIMEOUT_S)
    until(lambda: topic not in admin.list_topics(timeout=TIMEOUT_S).topics)


def cut_before(admin: AdminClient, topic: str, offset: int) -> None:
    """Delete the records before `offset`, as retention does.

    The broker writes the marker of a transaction after it has confirmed the commit: until then the offset is out of range.
    """
    place = TopicPartition(topic, 0, offset)

    def deleted() -> bool:
        try:
            admin.delete_records([place])[place].result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.OFFSET_OUT_OF_RANGE:
                raise
            return False
        return True

    until(deleted)


def transact(servers: str, topic: str, values: Sequence[bytes], *, commit: bool = True) -> None:
    """Write records to partition 0 in one transaction, which ends with a marker."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"{topic}-sender"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, b"s", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    if commit:
        producer.commit_transaction(TIMEOUT_S)
    else:
        producer.abort_transaction(TIMEOUT_S)


def fill(
    servers: str, topic: str, values: Sequence[bytes | None], partition: int = 0, key: bytes | None = b"s"
) -> None:
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 20_000_000})
    for value in values:
        producer.produce(topic, value, key, partition=partition)
    assert producer.flush(TIMEOUT_S) == 0


def values(servers: str, topic: str) -> list[bytes | None]:
    return [message.value() for message in records(servers, topic)]
