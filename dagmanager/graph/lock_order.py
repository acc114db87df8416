"""The lock order of decisions 5, checked: what would be a deadlock on a server is an error here.

A memory store needs no row locks, since one transaction runs at a time. It checks instead that every
transaction would be safe on a store that has them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NoReturn

from dagmanager.engine.ports import Locks
from dagmanager.engine.rows import LineageKey

# As `Locks` declares them; the epoch and the publisher are single rows.
KINDS = ("lineages", "contents", "bindings", "names", "tag_sets", "epoch", "publisher")


class LockOrder:
    """What one transaction has locked so far."""

    def __init__(self) -> None:
        """Nothing is locked."""
        self._held: set[tuple[int, Any]] = set()
        self._last: tuple[int, Any] | None = None

    def lock(self, locks: Locks) -> None:
        """Note these locks. `AssertionError` when one comes before what is held already.

        A lock that is held already is no new one, whenever it is asked for again.
        """
        for place, kind in enumerate(KINDS):
            wanted = getattr(locks, kind)
            keys = ((True,) if wanted else ()) if isinstance(wanted, bool) else wanted
            if any(earlier > later for earlier, later in pairwise(keys)):
                _refuse(f"{kind} are locked sorted, not as {keys}")
            for key in keys:
                self._take(place, key)

    def lock_epoch(self) -> None:
        """The same for the epoch, which whoever raises it locks."""
        self.lock(Locks(epoch=True))

    def holds(self, lineage: LineageKey) -> bool:
        """Whether this lineage is locked."""
        return (0, lineage) in self._held

    def _take(self, place: int, key: Any) -> None:
        if (place, key) in self._held:
            return
        if self._last is not None and (place, key) < self._last:
            last_place, last_key = self._last
            _refuse(f"{KINDS[place]} {key!r} is locked after {KINDS[last_place]} {last_key!r}")
        self._held.add((place, key))
        self._last = (place, key)


def _refuse(why: str) -> NoReturn:
    msg = f"lock order (decisions 5): {why}"
    raise AssertionError(msg)
