"""One consumer for all the partitions that a worker reads, and what came for each of them.

A consumer for each would be asked a thousand times a second, one after the other, and most of what a
submission waits for would be its turn. Here one of them waits for all: whatever comes wakes the worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

from dagmanager.kafka.client_errors import ConnectionErrors
from dagmanager.kafka.options import KafkaAddress, client, consumer_options

# Bytewax looks again after as long when a source has nothing; other workers' items wait no longer either.
WAIT_S: Final = 0.001
_UNKNOWN: Final = (-1, -1)


class SharedConsumer:
    """Opened, taken from and closed by one worker's thread; `ends` by any."""

    def __init__(self, address: KafkaAddress, batch_records: int) -> None:
        """Connects in the background. `SettingsError` for options that the library does not take."""
        options = {**consumer_options(address), "error_cb": ConnectionErrors(address)}
        self._consumer = client(Consumer, options, address.setting)
        self._batch_records = batch_records
        self._boxes: dict[int, list[Message]] = {}
        self._waiter = 0
        self.is_closed = False

    def open(self, partition: TopicPartition) -> None:
        """Read this one too, from its offset."""
        self._consumer.incremental_assign([partition])
        self._boxes[partition.partition] = []
        self._waiter = min(self._boxes)

    def take(self, number: int) -> list[Message]:
        """What has come for this partition, in order; errors are among it.

        One of the partitions waits a moment when nothing is there for any; the others never do.
        """
        if number == self._waiter and not any(self._boxes.values()):
            self._fetch()
        taken, self._boxes[number] = self._boxes[number], []
        return taken

    def close(self, partition: TopicPartition) -> None:
        """Read this one no more; the consumer ends with the last."""
        del self._boxes[partition.partition]
        if self._boxes:
            self._waiter = min(self._boxes)
            self._consumer.incremental_unassign([partition])
        else:
            self.is_closed = True
            self._consumer.close()

    def ends(self, partition: TopicPartition) -> tuple[int, int]:
        """Its first offset and the one that its next record will get, as they were last told; negative
        while unknown."""
        if partition.partition not in self._boxes:
            return _UNKNOWN
        with suppress(RuntimeError):  # closed meanwhile
            low, high = self._consumer.get_watermark_offsets(partition, cached=True)
            return low, high
        return _UNKNOWN

    def _fetch(self) -> None:
        # `consume` would wait for a full batch, `poll` comes back with the first.
        first = self._consumer.poll(WAIT_S)
        if first is None:
            return
        for message in (first, *self._consumer.consume(self._batch_records - 1, 0)):
            # What names no partition is about the brokers: whoever asks is told.
            number = message.partition()
            box = self._boxes.get(self._waiter if number is None or number < 0 else number)
            if box is not None:  # closed meanwhile
                box.append(message)
