"""A topic as an output partition that the flow's snapshots wait for.

A partition of a `FixedPartitionedSink` joins the snapshot stream, so that an epoch closes only after its
writes; and a write returns only when every record was acknowledged (LOSS 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.engine.wire.message import Message
from dagmanager.errors import UnavailableError
from dagmanager.kafka.records import Delivery, OutgoingRecord
from sinks.json_lines import Patiently

Positions = tuple[int, ...]


@dataclass(frozen=True)
class Destination:
    """Where messages go. `patiently` calls again until the broker is back.

    `shorter` makes of a message that is too large for the topic one that is not; None when there is
    nothing to leave out.
    """

    topic: str
    delivery: Delivery
    patiently: Patiently
    shorter: Callable[[Message], Message] | None = None


class KafkaRecordsPartition(StatefulSinkPartition[Message, None]):
    """Delivers each batch whole; what its topic does not take yet is tried again alone."""

    def __init__(self, destination: Destination) -> None:
        """Nothing is open: the producer is the process'."""
        self._to = destination

    def write_batch(self, values: list[Message]) -> None:
        """Acknowledged before it returns; waits while the broker is unreachable, `UnavailableError` only when the
        run is stopped then: the epoch stays open, and its records come again."""
        left = list(values)
        self._to.patiently(lambda: self._deliver(left))

    def snapshot(self) -> None:
        """Nothing of its own: what was written is on the topic."""

    def _deliver(self, left: list[Message]) -> None:
        """Deliver, and keep in `left` what is too large: the next try must not repeat its neighbours."""
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
    """As many partitions as asked for, whatever the topic has: they only spread the waiting over workers."""

    def __init__(self, destination: Destination, parts: int = 1) -> None:
        """More parts than workers cost one delivery each for every batch."""
        self._destination = destination
        self._parts = parts

    def list_parts(self) -> list[str]:
        """Named after the topic, so that they are the same in every run."""
        return [f"{self._destination.topic}/{number}" for number in range(self._parts)]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> KafkaRecordsPartition:
        """No state to resume; at least once, so records of an open epoch may repeat."""
        return KafkaRecordsPartition(self._destination)
