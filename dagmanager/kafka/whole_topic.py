"""Reads a topic once, from its first record to its last at that moment. For commands, not for flows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dagmanager.kafka.client_errors import ConnectionErrors
from dagmanager.kafka.options import KafkaAddress, client, consumer_options

T = TypeVar("T")
_BATCH: Final = 1_000
_POLL_S: Final = 0.1


class OffsetRange(msgspec.Struct, frozen=True):
    """One partition: the first offset that still exists, and the offset of the next record to be written."""

    partition: int
    first: int
    end: int


class TopicRecord(msgspec.Struct, frozen=True):
    """One record; a null value (tombstone) is empty."""

    partition: int
    offset: int
    value: bytes


class WholeTopic:
    """Reads the records between the two watermarks of each partition. Joins no group and commits no offsets.

    Raises `UnavailableError` when a request takes longer than `request_s`, or no record arrives for that long.
    """

    def __init__(self, address: KafkaAddress, topic: str, partitions: int) -> None:
        """`topic` must exist and have this many partitions. Blocks for at most `request_s` per partition."""
        self.topic = topic
        self._address = address
        self._connection_errors = ConnectionErrors(address)
        options = consumer_options(address) | {
            "enable.partition.eof": True,
            "error_cb": self._connection_errors,
        }
        self._consumer = client(Consumer, options)
        try:
            self.ranges = tuple(self._range(number) for number in range(partitions))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def records(self) -> Iterator[TopicRecord]:
        """Records in order within each partition, partitions interleaved; records written meanwhile are left out."""
        ends = {span.partition: span.end for span in self.ranges if span.first < span.end}
        firsts = {span.partition: span.first for span in self.ranges}
        self._call(
            lambda: self._consumer.assign(
                [TopicPartition(self.topic, partition, firsts[partition]) for partition in ends]
            )
        )
        received_at = time.monotonic()
        while ends:
            messages = self._call(lambda: self._consumer.consume(_BATCH, _POLL_S))
            if messages:
                received_at = time.monotonic()
            elif time.monotonic() - received_at > self._address.request_s:
                raise self._connection_errors.unavailable(f"reading topic {self.topic}")
            for message in messages:
                partition, offset = message.partition() or 0, message.offset() or 0
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise self._connection_errors.unavailable(f"reading topic {self.topic}", error)
                # The last offsets may hold no record (compacted away, or a transaction marker): EOF ends the partition.
                if error is None and offset < ends.get(partition, 0):
                    yield TopicRecord(partition, offset, message.value() or b"")
                if error is not None or offset + 1 >= ends.get(partition, 0):
                    ends.pop(partition, None)

    def _range(self, partition: int) -> OffsetRange:
        place = TopicPartition(self.topic, partition)
        found = self._call(
            lambda: self._consumer.get_watermark_offsets(place, timeout=self._address.request_s)
        )
        if found is None:
            raise self._connection_errors.unavailable(f"reading the watermarks of topic {self.topic}")
        return OffsetRange(partition, *found)

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as failed:
            error: KafkaError = failed.args[0]
            self._consumer.poll(0)  # connection errors reach `error_cb` only from within poll
            raise self._connection_errors.unavailable(f"reading topic {self.topic}", error) from failed
