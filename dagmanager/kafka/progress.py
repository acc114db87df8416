"""How far a topic has been read, for metrics: no offsets are committed to the brokers."""

from __future__ import annotations

import msgspec


class PartitionProgress(msgspec.Struct, frozen=True):
    """One partition: `position` is the next offset to read, `end` the offset of the next record to be written.

    Either is None while unknown.
    """

    partition: int
    position: int | None
    end: int | None

    @property
    def lag(self) -> int | None:
        """How many records are still to be read, None while unknown."""
        if self.position is None or self.end is None:
            return None
        return max(self.end - self.position, 0)


class TopicProgress(msgspec.Struct, frozen=True):
    """A topic as one process reads it. `reachable`: the brokers answered the last request."""

    topic: str
    reachable: bool
    partitions: tuple[PartitionProgress, ...]
