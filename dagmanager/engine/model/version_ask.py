"""One ask for a version, and its place in the record order (docs/semantics.md 6). Asks are stored in `SentinelRow.asks`."""

from __future__ import annotations

from typing import NamedTuple


class VersionAsk(NamedTuple):
    """What one record asked for a version, and its place in the record order of the lineage.

    `weight` is 0-1, None for "in force as a whole". `at_ms` is the record's time, at most the store's at the claim;
    `partition` and `position` order records of the same millisecond. `edits` is the revision that the same sender had
    brought under this label before, with the same weight, 0 if none: its edit of a canary keeps the canary's share.
    """

    weight: float | None
    at_ms: int
    partition: int = 0
    position: int = 0
    edits: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in the record order."""
        # The partition goes before the offset: offsets of different partitions say nothing about each other.
        return (self.at_ms, self.partition, self.position)
