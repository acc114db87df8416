"""The indexes of a row store: every read of the port is a look-up, none scans all rows.

An index is a function of the rows alone, so `remove` exactly reverses `add`, and an undone write leaves nothing behind.
No locks, no transactions, no decisions.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from dagmanager.engine.model.rows import (
    GONE,
    Binding,
    ContentRow,
    Member,
    NodeRow,
    OutboxRow,
    OutboxState,
    QueueRow,
    QueueState,
    Row,
    fold,
)
from dagmanager.engine.model.version_rows import (
    REFERENCING,
    HolderKey,
    HolderRow,
    LineageKey,
    SentinelKey,
    SentinelRow,
    SentinelState,
)

K = TypeVar("K")
V = TypeVar("V")


class Groups(Generic[K, V]):
    """A set of values per key; empty sets are removed."""

    def __init__(self) -> None:
        """Empty."""
        self._sets: dict[K, set[V]] = {}

    def add(self, key: K, value: V) -> None:
        """Add one value."""
        self._sets.setdefault(key, set()).add(value)

    def discard(self, key: K, value: V) -> None:
        """Remove one value; `KeyError` if it is not in the set."""
        values = self._sets[key]
        values.remove(value)
        if not values:
            del self._sets[key]

    def of(self, key: K) -> set[V]:
        """The values of a key. The caller must not change the set."""
        return self._sets.get(key, set())


class Counts(Generic[K, V]):
    """A multiset of values per key: how many rows contribute each value."""

    def __init__(self) -> None:
        """Empty."""
        self._counts: dict[K, Counter[V]] = {}

    def change(self, key: K, value: V, by: int) -> int:
        """Add `by` to a count and return the new one; a count of 0 is removed."""
        counts = self._counts.setdefault(key, Counter())
        counts[value] += by
        count = counts[value]
        if not count:
            del counts[value]
            if not counts:
                del self._counts[key]
        return count

    def of(self, key: K) -> Counter[V]:
        """The counts of a key. The caller must not change them."""
        return self._counts.get(key, Counter())


class Indexes:
    """Every index over the rows of one row store."""

    def __init__(self) -> None:
        """Empty."""
        self.base_names: dict[str, str] = {}
        self.dependents: Groups[str, str] = Groups()
        self.queries_by_tag: Groups[tuple[int | None, str], str] = Groups()
        self.nodes_by_tag: Groups[tuple[int, str], str] = Groups()
        self.topics: dict[str, str] = {}
        self.queues_of: Groups[Binding, tuple[int, str]] = Groups()
        self.shared_of: Groups[str, Binding] = Groups()
        self.safe_topics = 0
        self.sentinels_of: Groups[LineageKey, SentinelKey] = Groups()
        self.holders_of: Groups[SentinelKey, HolderKey] = Groups()
        self.claimed_queues: Groups[str, str] = Groups()
        self.claimed_sentinels: Groups[str, SentinelKey] = Groups()
        self.leases: dict[str, Counter[int]] = {}
        self.waiting: list[tuple[int, str, int, str]] = []
        # Sentinels reference contents, contents have members. `_active` counts the active sentinels of each content.
        # The content row may arrive before its sentinels or after them, so that `_members` keeps what to update.
        self._members: dict[str, tuple[Member, ...]] = {}
        self.references: Counts[str, str] = Counts()
        self._active: Counter[str] = Counter()
        self.referenced_nodes: Counts[str, str] = Counts()
        self.tags_in_force: Counts[str, tuple[str, ...]] = Counts()
        self._change: dict[type[Any], Callable[[Any, int], None]] = {
            NodeRow: self._node,
            QueueRow: self._queue,
            ContentRow: self._content,
            SentinelRow: self._sentinel,
            HolderRow: self._holder,
            OutboxRow: self._outbox,
        }

    def add(self, row: Row) -> None:
        """Index a row that was added."""
        if type(row) in self._change:
            self._change[type(row)](row, 1)

    def remove(self, row: Row) -> None:
        """Take a row that was removed out of the indexes."""
        if type(row) in self._change:
            self._change[type(row)](row, -1)

    def current(self, binding: Binding) -> str | None:
        """The topic of the binding's highest incarnation."""
        queues = self.queues_of.of(binding)
        return max(queues)[1] if queues else None

    def in_force(self, node_id: str) -> bool:
        """Whether the node is in the content of an active sentinel."""
        return bool(self.tags_in_force.of(node_id))

    def overdue(self, now_ms: int) -> list[str]:
        """Claims of which every lease is over at `now_ms`, oldest first. Scans the open claims, which are few."""
        latest = ((max(leases), claim_id) for claim_id, leases in self.leases.items())
        return [claim_id for lease, claim_id in sorted(latest) if lease <= now_ms]

    def _node(self, row: NodeRow, by: int) -> None:
        if by > 0:
            self.base_names[fold(row.base_name)] = row.node_id
        else:
            del self.base_names[fold(row.base_name)]
        for each in set(row.dependencies):
            _add_or_discard(self.dependents, each, row.node_id, by)
        if row.tag_query is not None:
            for tag in set(row.tag_query.tags):
                _add_or_discard(self.queries_by_tag, (row.tag_query.interval, tag), row.node_id, by)
        else:
            for tag in set(row.tags):
                _add_or_discard(self.nodes_by_tag, (row.interval, tag), row.node_id, by)

    def _queue(self, row: QueueRow, by: int) -> None:
        if by > 0:
            self.topics[fold(row.topic)] = row.topic
        else:
            del self.topics[fold(row.topic)]
        # `shared_of` has bindings, not queues: only the first and the last queue of a binding change it.
        before = bool(self.queues_of.of(row.binding))
        _add_or_discard(self.queues_of, row.binding, (row.incarnation, row.topic), by)
        after = bool(self.queues_of.of(row.binding))
        if row.binding.safe:
            self.safe_topics += by if row.state not in GONE else 0
        elif before != after:
            _add_or_discard(self.shared_of, row.binding.node_id, row.binding, by)
        if row.claim_id and row.state is QueueState.PROVISIONING:
            _add_or_discard(self.claimed_queues, row.claim_id, row.topic, by)
            self._lease(row.claim_id, row.lease_until_ms, by)

    def _content(self, row: ContentRow, by: int) -> None:
        # Sentinels that came before their content were counted, but could not be passed on to members: do it now.
        namespaces = list(self.references.of(row.digest))
        active = self._active[row.digest] > 0
        if by > 0:
            self._members[row.digest] = row.members
        for namespace in namespaces:
            self._change_references(row.digest, namespace, by)
        if active:
            self._change_active(row.digest, by)
        if by < 0:
            del self._members[row.digest]

    def _sentinel(self, row: SentinelRow, by: int) -> None:
        namespace = row.key.namespace
        _add_or_discard(self.sentinels_of, LineageKey(row.key.lineage, namespace), row.key, by)
        if row.claim_id and row.state is SentinelState.PENDING:
            _add_or_discard(self.claimed_sentinels, row.claim_id, row.key, by)
            self._lease(row.claim_id, row.lease_until_ms, by)
        if row.state in REFERENCING:
            count = self.references.change(row.content, namespace, by)
            if count == max(by, 0):  # the first reference was added, or the last one removed
                self._change_references(row.content, namespace, by)
        if row.state is SentinelState.ACTIVE:
            self._active[row.content] += by
            if self._active[row.content] == max(by, 0):
                self._change_active(row.content, by)
            if not self._active[row.content]:
                del self._active[row.content]

    def _holder(self, row: HolderRow, by: int) -> None:
        _add_or_discard(self.holders_of, row.sentinel, row.key, by)

    def _outbox(self, row: OutboxRow, by: int) -> None:
        if row.state is not OutboxState.WAITING:
            return
        entry = (row.created_ms, row.stream, row.revision, row.event_id)  # in the order of publication
        if by > 0:
            insort(self.waiting, entry)
        else:
            del self.waiting[bisect_left(self.waiting, entry)]

    def _change_references(self, digest: str, namespace: str, by: int) -> None:
        for member in self._members.get(digest, ()):
            self.referenced_nodes.change(member.node_id, namespace, by)

    def _change_active(self, digest: str, by: int) -> None:
        for member in self._members.get(digest, ()):
            self.tags_in_force.change(member.node_id, member.tags, by)

    def _lease(self, claim_id: str, until_ms: int, by: int) -> None:
        leases = self.leases.setdefault(claim_id, Counter())
        leases[until_ms] += by
        if not leases[until_ms]:
            del leases[until_ms]
            if not leases:
                del self.leases[claim_id]


def _add_or_discard(groups: Groups[K, V], key: K, value: V, by: int) -> None:
    if by > 0:
        groups.add(key, value)
    else:
        groups.discard(key, value)
