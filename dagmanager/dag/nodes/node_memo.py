"""The cache of proven nodes by their raw bytes: a node is parsed and hashed once while it keeps coming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dagmanager.dag.model import Node

# Bytes of memory per node besides its raw text: struct, strings, dictionary slot (measured, rounded up).
NODE_OVERHEAD: Final = 1_200


class NodeMemo:
    """Raw bytes of a node to the proven node, at most `bytes_max` bytes of memory and `entries_max` entries.

    Owned by one worker; not safe between threads. An entry stays valid under limits that are not stricter than those
    it was read with: use one memo per configuration.

    Two generations: when the young one has used half of the budget it becomes the old one, and the previous old one
    is dropped. A hit in the old one moves the entry to the young one, so an entry survives if it is used once per
    half budget.

    Not a `BoundedCache`: that one is first in, first out, and would drop nodes that every submission uses. Here a hit
    costs one dictionary access, at C speed for the whole list of a DAG, and no lock.
    """

    def __init__(self, bytes_max: int = 256 * 1024 * 1024, entries_max: int = 200_000) -> None:
        self._bytes_half = bytes_max // 2
        self._entries_half = max(1, entries_max // 2)
        self._young: dict[bytes, Node] = {}
        self._old: dict[bytes, Node] = {}
        self._young_bytes = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get_many(self, raws: list[bytes]) -> list[Node | None]:
        """The node of each text; None where it is not cached."""
        found = list(map(self._young.get, raws))
        if self._old and None in found:
            for position, node in enumerate(found):
                if node is None and (kept := self._old.pop(raws[position], None)) is not None:
                    found[position] = kept
                    self._put(raws[position], kept)
        return found

    def put_many(self, proven: Sequence[tuple[bytes, Node]]) -> None:
        """Add nodes whose ids were proven. An entry larger than half of the budget is not kept."""
        # The usual case in one `update`: all fit into the young generation.
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
