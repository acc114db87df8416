"""Control events on their way to the ControlBus (docs/contract.md; docs/semantics.md 8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from dagmanager.engine.model.rows import OutboxRow
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord

logger = logging.getLogger("dagmanager.events")


class KafkaEvents:
    """`EventSink`. Runs inside the graph's transaction: the producer's `delivery_s` must be well below that
    transaction's time limit.

    An event that is larger than its topic takes is dropped with an error in the log and counted: no
    later try could deliver it, and it would hold up every event behind it. What it would have said is in
    the graph; raising the topic's `max.message.bytes` lets the next change of the same set through.
    """

    def __init__(
        self, producer: KafkaProducer, topic_of: Mapping[str, str], dropped: Callable[[str], None]
    ) -> None:
        """`topic_of` maps a channel to its topic; an empty or absent one turns the channel off. `dropped`
        hears the channel of each event that is."""
        self._producer = producer
        self._topic_of = topic_of
        self._dropped = dropped

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """All acknowledged, in order, before it returns; `UnavailableError` otherwise."""
        due = [event for event in events if self._topic_of.get(event.channel)]
        records = [
            OutgoingRecord(self._topic_of[event.channel], event.message_key.encode(), event.value)
            for event in due
        ]
        for position in self._producer.deliver(records):
            event = due[position]
            self._dropped(event.channel)
            logger.error(
                "event %s has %d bytes, more than topic %s takes: dropped",
                event.event_id[:200],
                len(event.value),
                self._topic_of[event.channel],
            )
