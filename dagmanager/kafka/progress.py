"""How far the reading of a topic has come: for metrics, as brokers are told no offsets."""

from __future__ import annotations

import msgspec


class PartitionProgress(msgspec.Struct, frozen=True):
    """One partition: `position` is the next offset to be read, `end` the offset that the next record will
    get. None while not known."""

    partition: int
    position: int | None
    end: int | None

    @property
    def lag(self) -> int | None:
        """How many records wait, None while not known."""
        if self.position is None or self.end is None:
            return None
        return max(self.end - self.position, 0)


class TopicProgress(msgspec.Struct, frozen=True):
    """A topic as one process reads it. `reachable`: its brokers answered when they were last asked."""

    topic: str
    reachable: bool
    partitions: tuple[PartitionProgress, ...]
