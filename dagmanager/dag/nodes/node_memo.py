"""Nodes known by their raw bytes: what was proven once is neither parsed nor hashed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dagmanager.dag.model import Node

# What a node costs beside its bytes: struct, strings, dictionary slot (measured, rounded up).
NODE_OVERHEAD: Final = 1_200


class NodeMemo:
    """Raw node bytes to proven node, bounded; owned by one worker, not safe across threads.

    Two generations: when the young one holds half of the budget it becomes the old one, and what
    the old one held is forgotten. A hit in the old one moves back. So an entry survives as long as
    it is met once per half budget. Entries are valid under any limits no stricter than those they
    were parsed with: keep one memo per configuration.
    """

    def __init__(self, bytes_max: int = 256 * 1024 * 1024, entries_max: int = 200_000) -> None:
        self._bytes_half = bytes_max // 2
        self._entries_half = max(1, entries_max // 2)
        self._young: dict[bytes, Node] = {}
        self._old: dict[bytes, Node] = {}
        self._young_bytes = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def known(self, raws: list[bytes]) -> list[Node | None]:
        """The node of each text, None where it must be read; one dictionary look-up per hit."""
        found = list(map(self._young.get, raws))
        if self._old and None in found:
            for position, node in enumerate(found):
                if node is None and (back := self._old.pop(raws[position], None)) is not None:
                    found[position] = back
                    self._put(raws[position], back)
        return found

    def remember(self, proven: Sequence[tuple[bytes, Node]]) -> None:
        """Keep nodes whose ids were proven."""
        cost = sum(len(raw) for raw, _ in proven) * 2 + NODE_OVERHEAD * len(proven)
        if (
            self._young_bytes + cost <= self._bytes_half
            and len(self._young) + len(proven) <= self._entries_half
        ):
            self._young.update(proven)
            self._young_bytes += cost
            return
        for raw, node in proven:
            self._put(raw, node)

    def _put(self, raw: bytes, node: Node) -> None:
        cost = 2 * len(raw) + NODE_OVERHEAD
        if cost > self._bytes_half:
            return
        if self._young_bytes + cost > self._bytes_half or len(self._young) >= self._entries_half:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[raw] = node
        self._young_bytes += cost
