"""The port for control events.

Implementations raise `UnavailableError` when the broker or the disk is unreachable; the caller retries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dagmanager.engine.model.rows import OutboxRow


class EventSink(Protocol):
    """Delivers control events to the ControlBus."""

    # Again as a whole: after a failure it is unknown which of them arrived, and those of a stream must stay in order.
    def publish(self, events: Sequence[OutboxRow]) -> None:
        """Deliver all events, in the order given.

        Blocks until the last one is acknowledged. Raises `UnavailableError` when any was not; the caller then
        publishes all of them again, so consumers must tolerate repeats (docs/semantics.md 8).
        """
        ...
