"""One consumer for all the partitions that a worker reads, with a queue of records for each partition.

With a consumer for each partition the worker would poll them one after the other, and a submission would spend most of
its time waiting for its partition's turn. Here one poll waits for all partitions: any record wakes the worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

from dagmanager.kafka.client_errors import ConnectionErrors
from dagmanager.kafka.options import KafkaAddress, client, consumer_options

# Bytewax polls a source without records again after the same time, so this delays no other item.
WAIT_S: Final = 0.001
_UNKNOWN: Final = (-1, -1)


class SharedConsumer:
    """The consumer of one worker. `open`, `take` and `close` are for that worker's thread, `ends` for any."""

    def __init__(self, address: KafkaAddress, batch_records: int) -> None:
        """Connects in the background. `SettingsError` for options that the library does not take."""
        options = {**consumer_options(address), "error_cb": ConnectionErrors(address)}
        # The only way to learn how far reading went where no record is: transactions end with a marker, and an aborted
        # transaction is never delivered.
        options["enable.partition.eof"] = True
        self._consumer = client(Consumer, options, address.setting)
        self._batch_records = batch_records
        self._boxes: dict[int, list[Message]] = {}
        self._waiter = 0
        self.is_closed = False

    def open(self, partition: TopicPartition) -> None:
        """Read this partition too, from its offset. Makes no request."""
        self._consumer.incremental_assign([partition])
        self._boxes[partition.partition] = []
        self._waiter = min(self._boxes)

    def take(self, number: int) -> list[Message]:
        """The records that have arrived for this partition, in order, and errors as messages among them.

        Blocks for at most 1 ms, and only for one of the partitions, when no record has arrived for any. `KeyError` for a
        partition that is not open.
        """
        if number == self._waiter and not any(self._boxes.values()):
            self._fetch()
        taken, self._boxes[number] = self._boxes[number], []
        return taken

    def close(self, partition: TopicPartition) -> None:
        """Stop reading this partition; with the last one the consumer is closed."""
        del self._boxes[partition.partition]
        if self._boxes:
            self._waiter = min(self._boxes)
            self._consumer.incremental_unassign([partition])
        else:
            self.is_closed = True
            self._consumer.close()

    def ends(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset, and the one that the next record will get, as last reported by a broker; negative while
        unknown. From any thread; makes no request."""
        if partition.partition not in self._boxes:
            return _UNKNOWN
        with suppress(RuntimeError):  # closed meanwhile
            low, high = self._consumer.get_watermark_offsets(partition, cached=True)
            return low, high
        return _UNKNOWN

    def _fetch(self) -> None:
        # `consume` would wait for a full batch, `poll` returns with the first record.
        first = self._consumer.poll(WAIT_S)
        if first is None:
            return
        for message in (first, *self._consumer.consume(self._batch_records - 1, 0)):
            # An error without a partition concerns the brokers: one partition reports it for all.
            number = message.partition()
            box = self._boxes.get(self._waiter if number is None or number < 0 else number)
            if box is not None:  # closed meanwhile
                box.append(message)
