"""The record of topic creations and deletions, as a topic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dagmanager.engine.model.event_ports import AdminEntry
from dagmanager.errors import UnavailableError
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord


class KafkaAdminLog:
    """`AdminLog`: one JSON record per entry, with the fields of `AdminEntry`, keyed by topic."""

    def __init__(self, producer: KafkaProducer, topic: str) -> None:
        """`topic` is where the records go."""
        self._producer = producer
        self._topic = topic

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Acknowledged by all in-sync replicas before it returns; `UnavailableError` otherwise."""
        records = [
            OutgoingRecord(self._topic, entry.topic.encode(), msgspec.json.encode(entry)) for entry in entries
        ]
        if large := self._producer.deliver(records):
            # The topic's limit is wrong, and no creation may count without its line.
            size = max(len(records[at].key or b"") + len(records[at].value) for at in large)
            msg = f"topic {self._topic} takes no record of {size} bytes: raise its max.message.bytes"
            raise UnavailableError(msg)
