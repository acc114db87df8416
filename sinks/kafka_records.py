"""A topic as an output partition that the flow's snapshots wait for.

A partition of a `FixedPartitionedSink` takes part in snapshots, so that an epoch closes only after its writes, and a
write returns only when every record was acknowledged (LOSS 1). At least once: records of an open epoch may repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.engine.wire.message import Message
from dagmanager.errors import UnavailableError
from dagmanager.kafka.records import Delivery, OutgoingRecord
from sinks.json_lines import Retry

Positions = tuple[int, ...]


@dataclass(frozen=True)
class Destination:
    """A topic and how to write to it. `retry` calls again while the broker is unreachable.

    `shorter` gives a shorter message for one that the topic refuses as too large; None when messages cannot be cut.
    """

    topic: str
    delivery: Delivery
    retry: Retry
    shorter: Callable[[Message], Message] | None = None


class KafkaRecordsPartition(StatefulSinkPartition[Message, None]):
    """Delivers each batch as a whole; of a batch, only the records that the topic refused are tried again."""

    def __init__(self, destination: Destination) -> None:
        """Opens nothing: all sinks of a process share its producer."""
        self._to = destination

    def write_batch(self, values: list[Message]) -> None:
        """Return when the broker has acknowledged every record. Blocks while it is unreachable, or while the topic refuses a
        size; raises `UnavailableError` only when the run is stopped then: the epoch stays open, and its records are
        delivered again by the next run."""
        left = list(values)
        self._to.retry(lambda: self._deliver(left))

    def snapshot(self) -> None:
        """No state: every record that was written is on the topic."""

    def _deliver(self, left: list[Message]) -> None:
        """Deliver, and keep in `left` what is too large: the next try must not repeat records that were delivered."""
        left[:] = [left[position] for position in self._sent(left)]
        if left and self._to.shorter is not None:
            large = self._sent([self._to.shorter(message) for message in left])
            left[:] = [left[position] for position in large]
        if left:
            msg = f"topic {self._to.topic} takes no records of this size: raise its max.message.bytes"
            raise UnavailableError(msg)

    def _sent(self, messages: Sequence[Message]) -> Positions:
        return self._to.delivery.deliver([self._outgoing(message) for message in messages])

    def _outgoing(self, message: Message) -> OutgoingRecord:
        key = message.key.encode() if message.key else None
        return OutgoingRecord(self._to.topic, key, message.value, message.headers)


class KafkaRecordsSink(FixedPartitionedSink[Message, None]):
    """Has `parts` partitions, however many the topic has: they only let several workers wait at the same time."""

    def __init__(self, destination: Destination, parts: int = 1) -> None:
        """`parts`: 1 or more. More than there are workers cost a delivery each for every batch."""
        self._destination = destination
        self._parts = parts

    def list_parts(self) -> list[str]:
        """Named after the topic, so that they are the same in every run."""
        return [f"{self._destination.topic}/{number}" for number in range(self._parts)]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> KafkaRecordsPartition:
        """No state to resume: records of an open epoch may repeat."""
        return KafkaRecordsPartition(self._destination)
