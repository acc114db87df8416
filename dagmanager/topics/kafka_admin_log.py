"""The admin log as a Kafka topic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dagmanager.engine.model.admin_log_port import AdminEntry
from dagmanager.errors import UnavailableError
from dagmanager.kafka.producer import KafkaProducer
from dagmanager.kafka.records import OutgoingRecord


class KafkaAdminLog:
    """`AdminLog`: one JSON record per entry, with the fields of `AdminEntry`, keyed by topic."""

    def __init__(self, producer: KafkaProducer, topic: str) -> None:
        """`topic` must exist (`kafka_preflight`)."""
        self._producer = producer
        self._topic = topic

    def append(self, entries: Sequence[AdminEntry]) -> None:
        """Write all in order; acknowledged by all in-sync replicas when this returns.

        Blocks as `KafkaProducer.deliver`. Raises `UnavailableError` when an entry was not acknowledged or is too large.
        """
        records = [
            OutgoingRecord(self._topic, entry.topic.encode(), msgspec.json.encode(entry)) for entry in entries
        ]
        if large := self._producer.deliver(records):
            # No creation may become active without its entry: wait until the topic's limit is raised.
            size = max(len(records[at].key or b"") + len(records[at].value) for at in large)
            msg = f"topic {self._topic} rejects a record of {size} bytes: raise its max.message.bytes"
            raise UnavailableError(msg)
