"""Acknowledged deliveries. Bytewax's own Kafka sink is not used: it ignores failed deliveries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dagmanager.errors import UnavailableError
from dagmanager.kafka.client_errors import TOO_LARGE, ConnectionErrors
from dagmanager.kafka.options import BATCH_BYTES, KafkaAddress, client, producer_options
from dagmanager.kafka.records import OutgoingRecord

_POLL_S: Final = 0.05
Failures = dict[int, KafkaError]


class KafkaProducer:
    """One producer client, replaced after a failure. Safe between threads; one delivery at a time, others wait."""

    def __init__(self, address: KafkaAddress, batch_bytes: int = BATCH_BYTES) -> None:
        """Connects in the background. `SettingsError` for options that the library does not accept.

        `batch_bytes` bounds one batch on the wire: every topic written to must accept records of that size.
        """
        self.address = address
        self._batch_bytes = batch_bytes
        self._connection_errors = ConnectionErrors(address)
        self._lock = threading.Lock()
        self._client: Producer | None = self._connected()

    def deliver(self, records: Sequence[OutgoingRecord]) -> tuple[int, ...]:
        """Write all records in order; each is acknowledged by all in-sync replicas when this returns.

        Returns the positions of the records that are too large for their topic; all others were written. Blocks for at
        most `delivery_s` seconds, or `delivery_s` per record from the first that is too large. Raises `UnavailableError`
        when a record was not acknowledged. It may have been written nevertheless, so a retry may write it twice.
        """
        with self._lock:
            failed = self._sent(records)
            large = [position for position, error in sorted(failed.items()) if error.code() in TOO_LARGE]
            self._raise_other(failed, records)
            if not large:
                return ()
            # The broker rejects the whole batch for one large record, while later batches may have been written: send
            # everything after it again, one by one, so that the order holds.
            return tuple(
                position
                for position in range(large[0], len(records))
                if self._is_too_large(records[position])
            )

    def _is_too_large(self, record: OutgoingRecord) -> bool:
        failed = self._sent([record])
        self._raise_other(failed, [record])
        return bool(failed)

    def _raise_other(self, failed: Failures, records: Sequence[OutgoingRecord]) -> None:
        for position, error in sorted(failed.items()):
            if error.code() not in TOO_LARGE:
                # The retry gets a new client: this one may be fatally failed, and caches for minutes that a topic is
                # missing.
                self._client = None
                raise self._connection_errors.unavailable(
                    f"writing to topic {records[position].topic}", error
                )

    def _sent(self, records: Sequence[OutgoingRecord]) -> Failures:
        """Send all and wait for the acknowledgements; the errors by position."""
        failed: Failures = {}
        deadline = time.monotonic() + self.address.delivery_s
        producer = self._client or self._connected()
        self._client = producer
        for position, record in enumerate(records):
            while not self._queued(producer, record, _noting(failed, position)):
                if time.monotonic() >= deadline:
                    raise self._given_up(producer, record.topic)
                producer.poll(_POLL_S)
        if records and producer.flush(max(deadline - time.monotonic(), 0.001)):
            raise self._given_up(producer, records[0].topic)
        return failed

    def _queued(
        self,
        producer: Producer,
        record: OutgoingRecord,
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> bool:
        """Put one record into the client's queue; False when the queue is full."""
        try:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                headers=list(record.headers),
                on_delivery=on_delivery,
            )
        except BufferError:
            return False
        except KafkaException as refused:
            on_delivery(refused.args[0], None)  # type: ignore[arg-type]  # there is no message
        return True

    def _given_up(self, producer: Producer, topic: str) -> UnavailableError:
        """Purge the queue and drop the client: records given up must not be sent later, nor break its sequence."""
        producer.purge()
        producer.poll(0)
        self._client = None
        return self._connection_errors.unavailable(f"writing to topic {topic}")

    def _connected(self) -> Producer:
        options = {**producer_options(self.address, self._batch_bytes), "error_cb": self._connection_errors}
        return client(Producer, options, self.address.setting)


def _noting(failed: Failures, position: int) -> Callable[[KafkaError | None, Message], None]:
    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed[position] = error

    return note
