"""The lock order of docs/semantics.md 6, checked: what would be a deadlock on a server is an error here.

A memory store needs no row locks, since one transaction runs at a time. It checks instead that every
transaction would be safe on a store that has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NoReturn

from dagmanager.engine.model.graph_port import Locks
from dagmanager.engine.model.rows import (
    CounterRow,
    LineageKey,
    LineageRow,
    NodeRow,
    QueueRow,
    Row,
    SentinelRow,
    TagSetRow,
)

# As `Locks` declares them; the epoch and the publisher are single rows.
KINDS = ("lineages", "nodes", "names", "counters", "tags", "tag_sets", "epoch", "publisher")


class LockOrder:
    """What one transaction has locked so far."""

    def __init__(self) -> None:
        """Nothing is locked."""
        self._held: set[tuple[int, Any]] = set()
        self._last: tuple[int, Any] | None = None

    def lock(self, locks: Locks) -> Locks:
        """Note these locks; those that were not held. `AssertionError` when one comes before what is held already.

        A lock that is held already is no new one, whenever it is asked for again.
        """
        new: dict[str, Any] = {}
        for place, kind in enumerate(KINDS):
            wanted = getattr(locks, kind)
            keys = ((True,) if wanted else ()) if isinstance(wanted, bool) else wanted
            if any(earlier > later for earlier, later in pairwise(keys)):
                _refuse(f"{kind} are locked sorted, not as {keys}")
            taken = tuple(key for key in keys if self._take(place, key))
            new[kind] = bool(taken) if isinstance(wanted, bool) else taken
        return Locks(**new)

    def lock_epoch(self) -> None:
        """The same for the epoch, which whoever raises it locks."""
        self.lock(Locks(epoch=True))

    def must_hold(self, row: Row) -> None:
        """`AssertionError` when this row is written without the lock that rivals decide under.

        Rows that only their own submission writes (contents, holders, outcomes, events) need none.
        """
        needed = lock_of(row)
        if needed is None or self._held.intersection((KINDS.index(kind), key) for kind, key in needed):
            return
        (kind, key), *_ = needed
        _refuse(f"{type(row).__name__} {row.key} is written without the lock of {kind} {key!r}")

    def must_hold_nodes(self, node_ids: Iterable[str]) -> None:
        """`AssertionError` for a question about nodes whose answer a rival may change meanwhile."""
        place = KINDS.index("nodes")
        for each in node_ids:
            if (place, each) not in self._held:
                _refuse(f"a decision reads what references {each!r} without its lock")

    def _take(self, place: int, key: Any) -> bool:
        if (place, key) in self._held:
            return False
        if self._last is not None and (place, key) < self._last:
            last_place, last_key = self._last
            _refuse(f"{KINDS[place]} {key!r} is locked after {KINDS[last_place]} {last_key!r}")
        self._held.add((place, key))
        self._last = (place, key)
        return True


def lock_of(row: Row) -> tuple[tuple[str, Any], ...] | None:
    """Kind and key of the lock that a row is written under; any of them, where there are several."""
    match row:
        case LineageRow() | SentinelRow():
            return (("lineages", LineageKey(row.key.lineage, row.key.namespace)),)
        case NodeRow():
            return (("nodes", row.node_id),)
        case QueueRow():
            return (("nodes", row.binding.node_id),)
        case TagSetRow():
            return (("tag_sets", row.key),)
        case CounterRow():
            return (("counters", row.name), ("epoch", True), ("publisher", True))
        case _:
            return None


def _refuse(why: str) -> NoReturn:
    msg = f"lock order (docs/semantics.md 6): {why}"
    raise AssertionError(msg)
