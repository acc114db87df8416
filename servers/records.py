"""Reads a topic from its first record to its last, with a plain client."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

TIMEOUT_S: Final = 60.0


class UnreadTopicError(Exception):
    """A topic could not be read to its end."""


def records(servers: str, topic: str) -> list[Message]:
    """All records of a topic, ordered by partition and offset. Blocks for at most 60 s per request."""
    options = {"bootstrap.servers": servers, "group.id": "reading", "enable.auto.commit": False}
    consumer = Consumer({**options, "auto.offset.reset": "error", "log_level": 0})
    try:
        found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        ends = {number: _end(consumer, topic, number) for number in sorted(found)}
        due = {number for number, (low, high) in ends.items() if low < high}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in due])
        read: dict[int, list[Message]] = {number: [] for number in ends}
        deadline = time.monotonic() + TIMEOUT_S
        while due:
            if time.monotonic() > deadline:
                raise UnreadTopicError(f"{topic} could not be read to its end")
            for message in consumer.consume(1_000, 0.1):
                if message.error() is not None:
                    raise UnreadTopicError(f"{topic}: {message.error()}")
                number, offset = message.partition() or 0, message.offset() or 0
                if offset < ends[number][1]:
                    read[number].append(message)
                if offset + 1 >= ends[number][1]:
                    due.discard(number)
    finally:
        consumer.close()
    return [message for each in read.values() for message in each]


def _end(consumer: Consumer, topic: str, number: int) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT_S)
    return low, high
