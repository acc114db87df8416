"""Publishes control events to the ControlBus (docs/contract.md; docs/semantics.md 8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from dagmanager.engine.model.rows import OutboxRow
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord

logger = logging.getLogger("dagmanager.events")


class KafkaEvents:
    """`EventSink` on Kafka. Runs inside a graph transaction: `delivery_s` must be well below that one's time limit.

    An event that is larger than its topic accepts is dropped, counted, and logged as an error: no retry could deliver it,
    and it would block all events behind it. Its content is still in the graph; after the topic's `max.message.bytes` is
    raised, the next change of the same set is published.
    """

    def __init__(
        self, producer: KafkaProducer, topic_of: Mapping[str, str], dropped: Callable[[str], None]
    ) -> None:
        """`topic_of` maps a channel to its topic; an empty or absent topic turns the channel off.

        `dropped` is called with the channel of each dropped event.
        """
        self._producer = producer
        self._topic_of = topic_of
        self._dropped = dropped

    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Write all in order; acknowledged by all in-sync replicas when this returns.

        Blocks as `KafkaProducer.deliver`. Raises `UnavailableError` when an event was not acknowledged.
        """
        due = [event for event in events if self._topic_of.get(event.channel)]
        records = [
            OutgoingRecord(self._topic_of[event.channel], event.message_key.encode(), event.value)
            for event in due
        ]
        for position in self._producer.deliver(records):
            event = due[position]
            self._dropped(event.channel)
            logger.error(
                "event %s dropped: %d bytes are more than topic %s accepts",
                event.event_id[:200],
                len(event.value),
                self._topic_of[event.channel],
            )
