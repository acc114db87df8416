"""The lock order of docs/semantics.md 6 as a check: what could deadlock on a server is an `AssertionError` here.

The embedded stores need no row locks, because one transaction runs at a time. They check the order anyway, so that tests
without a server find a transaction that would not be safe on one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NoReturn

from dagmanager.engine.model.graph_port import Locks
from dagmanager.engine.model.rows import CounterRow, NodeRow, QueueRow, Row, TagSetRow
from dagmanager.engine.model.version_rows import LineageKey, LineageRow, SentinelRow

# In the order of `Locks`; the epoch and the publisher are one row each.
KINDS = ("lineages", "nodes", "names", "counters", "tags", "tag_sets", "epoch", "publisher")


class LockOrder:
    """The locks that one transaction holds."""

    def __init__(self) -> None:
        """Nothing is locked yet."""
        self._held: set[tuple[int, Any]] = set()
        self._last: tuple[int, Any] | None = None

    def lock(self, locks: Locks) -> Locks:
        """Record these locks; returns those that were not held yet.

        `AssertionError` when a new lock sorts before one that is held. A lock that is held may be asked for again at
        any time.
        """
        new: dict[str, Any] = {}
        for position, kind in enumerate(KINDS):
            wanted = getattr(locks, kind)
            keys = ((True,) if wanted else ()) if isinstance(wanted, bool) else wanted
            if any(earlier > later for earlier, later in pairwise(keys)):
                _refuse(f"{kind} are locked sorted, not as {keys}")
            taken = tuple(key for key in keys if self._take(position, key))
            new[kind] = bool(taken) if isinstance(wanted, bool) else taken
        return Locks(**new)

    def lock_epoch(self) -> None:
        """Record the lock of the epoch, which raising it takes."""
        self.lock(Locks(epoch=True))

    def must_hold(self, row: Row) -> None:
        """`AssertionError` when this row is written without the lock under which other transactions read it.

        Rows that only their own submission writes (contents, holders, outcomes, events) need no lock.
        """
        needed = lock_of(row)
        if needed is None or self._held.intersection((KINDS.index(kind), key) for kind, key in needed):
            return
        (kind, key), *_ = needed
        _refuse(f"{type(row).__name__} {row.key} is written without the lock of {kind} {key!r}")

    def must_hold_nodes(self, node_ids: Iterable[str]) -> None:
        """`AssertionError` for a read about nodes without their locks: another transaction could change the result."""
        position = KINDS.index("nodes")
        for each in node_ids:
            if (position, each) not in self._held:
                _refuse(f"a decision reads what references {each!r} without its lock")

    def _take(self, position: int, key: Any) -> bool:
        if (position, key) in self._held:
            return False
        if self._last is not None and (position, key) < self._last:
            last_position, last_key = self._last
            _refuse(f"{KINDS[position]} {key!r} is locked after {KINDS[last_position]} {last_key!r}")
        self._held.add((position, key))
        self._last = (position, key)
        return True


def lock_of(row: Row) -> tuple[tuple[str, Any], ...] | None:
    """Kind and key of the lock under which a row is written; where there are several, any of them will do."""
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
