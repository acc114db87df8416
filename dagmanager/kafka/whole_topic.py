"""A topic read once, from its beginning to the end that it has at that moment; for commands, not for flows."""

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
    """One partition: the first offset that it still has, and the one that its next record will get."""

    partition: int
    first: int
    end: int


class TopicRecord(msgspec.Struct, frozen=True):
    """One record; a value that is none is empty."""

    partition: int
    offset: int
    value: bytes


class WholeTopic:
    """Asks the broker for both ends of each partition, and reads what lies between. Joins no group, tells no offsets.

    `UnavailableError` when a request takes longer than the address allows, or nothing comes for as long.
    """

    def __init__(self, address: KafkaAddress, topic: str, partitions: int) -> None:
        """Of a topic that is there, with so many partitions. May block, once for each of them."""
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
        """Itself; the end of the block lets go of the broker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the broker."""
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def records(self) -> Iterator[TopicRecord]:
        """Each partition's in their order; partitions are mixed. What is written meanwhile is not read."""
        ends = {span.partition: span.end for span in self.ranges if span.first < span.end}
        firsts = {span.partition: span.first for span in self.ranges}
        self._asked(
            lambda: self._consumer.assign(
                [TopicPartition(self.topic, partition, firsts[partition]) for partition in ends]
            )
        )
        heard_s = time.monotonic()
        while ends:
            messages = self._asked(lambda: self._consumer.consume(_BATCH, _POLL_S))
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._address.request_s:
                raise self._connection_errors.unavailable(f"reading topic {self.topic}")
            for message in messages:
                partition, offset = message.partition() or 0, message.offset() or 0
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise self._connection_errors.unavailable(f"reading topic {self.topic}", error)
                # The last offsets may hold no record: compacted, or a transaction's mark.
                if error is None and offset < ends.get(partition, 0):
                    yield TopicRecord(partition, offset, message.value() or b"")
                if error is not None or offset + 1 >= ends.get(partition, 0):
                    ends.pop(partition, None)

    def _range(self, partition: int) -> OffsetRange:
        place = TopicPartition(self.topic, partition)
        found = self._asked(
            lambda: self._consumer.get_watermark_offsets(place, timeout=self._address.request_s)
        )
        if found is None:
            raise self._connection_errors.unavailable(f"asking for the ends of topic {self.topic}")
        return OffsetRange(partition, *found)

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KafkaException as failed:
            error: KafkaError = failed.args[0]
            self._consumer.poll(0)  # complaints of its connections come only when they are asked for
            raise self._connection_errors.unavailable(f"reading topic {self.topic}", error) from failed
