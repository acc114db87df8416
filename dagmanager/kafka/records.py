"""What leaves for a topic, as plain data, and who takes it there: whoever makes one needs no client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class OutgoingRecord(msgspec.Struct, frozen=True):
    """A record on its way out. Records of one key, in one topic, keep their order."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Delivery(Protocol):
    """Takes records to their topics: `KafkaProducer`, as far as it matters to whoever sends."""

    def deliver(self, records: Sequence[OutgoingRecord]) -> tuple[int, ...]:
        """All acknowledged, in order; the positions of those that are too large."""
        ...
