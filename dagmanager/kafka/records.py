"""Records to be written, as plain data, and the port that writes them: sinks need no client library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class OutgoingRecord(msgspec.Struct, frozen=True):
    """A record to be written. Records with one key in one topic keep their order."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Delivery(Protocol):
    """Writes records to their topics; `KafkaProducer` implements it."""

    def deliver(self, records: Sequence[OutgoingRecord]) -> tuple[int, ...]:
        """Write all in order and return once they are acknowledged; the positions of those that are too large.

        Blocks. Raises `UnavailableError` when a record was not acknowledged; a retry may then write records twice.
        """
        ...
