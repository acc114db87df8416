"""All rows of a graph in memory, their indexes, and an undo journal.

Not safe between threads, and not a transaction: its owner (`MemoryGraph`, `SqliteGraph`) serialises all calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import Any, TypeVar, cast

from dagmanager.engine.model.graph_port import (
    EpochReading,
    Known,
    LookupKeys,
    NodeUsage,
    OpenClaim,
    TaggedQueue,
    TakenName,
)
from dagmanager.engine.model.rows import (
    EPOCH_COUNTER,
    Binding,
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    RowKey,
    TagSetKey,
    TagSetRow,
    fold,
)
from dagmanager.engine.model.version_rows import HolderRow, LineageKey, LineageRow, SentinelRow
from dagmanager.errors import ConstraintError
from dagmanager.graph.embedded.indexes import Indexes

R = TypeVar("R")
RowId = tuple[type[Any], RowKey]


class RowStore:
    """Rows by (type, key), with an index for every read of the port.

    Writes since the last `keep` can be reverted by `undo`; `changed` says which rows they touched. What is not
    documented here is as in `dagmanager.engine.model.graph_port`.
    """

    def __init__(self) -> None:
        """Empty."""
        self._tables: dict[type[Any], dict[RowKey, Any]] = {}
        self._indexes = Indexes()
        self._journal: list[tuple[RowId, Row | None]] = []

    def table(self, kind: type[R]) -> dict[RowKey, R]:
        """The rows of one type by key. The caller must not change the mapping."""
        return self._tables.setdefault(kind, {})

    def rows(self) -> tuple[Row, ...]:
        """All rows, by type and key."""
        kinds = sorted(self._tables, key=lambda kind: kind.__name__)
        return tuple(self._tables[kind][key] for kind in kinds for key in sorted(self._tables[kind]))

    # --- writes

    def put(self, rows: Iterable[Row]) -> None:
        """Insert or replace rows one by one; `ConstraintError` for a unique name of another row."""
        for row in rows:
            self._check(row)
            self._write((type(row), row.key), row)

    def delete(self, rows: Iterable[Row]) -> None:
        """Remove rows by key; absent ones are ignored."""
        for row in rows:
            if row.key in self.table(type(row)):
                self._write((type(row), row.key), None)

    def undo(self) -> None:
        """Revert every write since the last `keep`."""
        while self._journal:
            row_id, before = self._journal.pop()
            self._replace(row_id, before)

    def keep(self) -> None:
        """Make every write since the last `keep` final."""
        self._journal.clear()

    def changed(self) -> dict[RowId, Row | None]:
        """The rows written since the last `keep`, as they are now; None for a deleted one."""
        return {row_id: self.table(row_id[0]).get(row_id[1]) for row_id, _ in self._journal}

    def load(self, rows: Mapping[RowId, Row | None]) -> None:
        """Replace rows by what another process committed; None deletes. `undo` does not revert this."""
        # All are removed before any is added: between two states a unique name may move from one row to another.
        for row_id in rows:
            self._replace(row_id, None)
        for row_id, row in rows.items():
            self._replace(row_id, row)

    def _check(self, row: Row) -> None:
        if isinstance(row, QueueRow):
            name, holder = row.topic, self._indexes.topics.get(fold(row.topic))
        elif isinstance(row, NodeRow):
            name, holder = row.base_name, self._indexes.base_names.get(fold(row.base_name))
        else:
            return
        if holder is not None and (holder != row.key or self._is_of_another_binding(row)):
            raise ConstraintError(fold(name))

    def _is_of_another_binding(self, row: Row) -> bool:
        """A topic belongs to one binding for ever."""
        return isinstance(row, QueueRow) and self.table(QueueRow)[row.key].binding != row.binding

    def _write(self, row_id: RowId, row: Row | None) -> None:
        before = self.table(row_id[0]).get(row_id[1])
        if before == row:  # no change: the SQLite graph need not write it
            return
        self._journal.append((row_id, cast("Row | None", before)))
        self._replace(row_id, row)

    def _replace(self, row_id: RowId, row: Row | None) -> None:
        table = self.table(row_id[0])
        before = table.pop(row_id[1], None)
        if before is not None:
            self._indexes.remove(cast("Row", before))
        if row is not None:
            table[row_id[1]] = row
            self._indexes.add(row)

    # --- reads

    def known(self, keys: LookupKeys, now_ms: int) -> Known:
        """All rows that a micro-batch needs, in new mappings that later writes do not change."""
        outcomes = self._picked(OutcomeRow, keys.outcomes)
        return Known(
            nodes=self._picked(NodeRow, {binding.node_id for binding in keys.bindings}.union(keys.nodes)),
            queues=self._current(keys.bindings),
            lineages=self._picked(LineageRow, keys.lineages),
            sentinels={key: rows for key in keys.lineages if (rows := self._sentinels(key))},
            holders=self._picked(HolderRow, keys.holders),
            outcomes=outcomes,
            outcome_queues=self.queues_by_topic(
                topic for outcome in outcomes.values() for topic in outcome.topics
            ),
            epoch=self.counter(EPOCH_COUNTER),
            safe_topics=self._indexes.safe_topics if any(each.safe for each in keys.bindings) else 0,
            now_ms=now_ms,
        )

    def tagged(
        self, tags: Sequence[str], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic. `ValueError` for an unknown match mode."""
        if match_mode not in {"any", "all"}:
            msg = f"match_mode is any or all, not {match_mode!r}"
            raise ValueError(msg)
        found = sorted((self._indexes.nodes_by_tag.of((interval, tag)) for tag in set(tags)), key=len)
        if not found:
            return ()
        matching = set(found[0]).intersection(*found) if match_mode == "all" else set().union(*found)
        queues = self._current(Binding(node_id, namespace) for node_id in matching)
        nodes = self.table(NodeRow)
        active = (queue for queue in queues.values() if queue.state is QueueState.ACTIVE)
        return tuple(
            TaggedQueue(queue.topic, nodes[queue.binding.node_id].global_, nodes[queue.binding.node_id].tags)
            for queue in sorted(active, key=lambda queue: queue.topic)
        )

    def contents(self, digests: Iterable[str]) -> dict[str, ContentRow]:
        """Contents by digest."""
        return self._picked(ContentRow, digests)

    def taken(self, topics: Iterable[str], base_names: Iterable[str]) -> TakenName:
        """Which of these folded names a queue has or had, and which a node has."""
        return TakenName(
            frozenset(name for name in topics if name in self._indexes.topics),
            frozenset(name for name in base_names if name in self._indexes.base_names),
        )

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Which of these nodes are in a referencing content of this namespace, or a direct dependency of one."""
        return frozenset(
            node_id
            for node_id in node_ids
            if self._refers(node_id, namespace)
            or any(self._refers(each, namespace) for each in self._indexes.dependents.of(node_id))
        )

    def dependents(self, node_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """The nodes that depend on each of these nodes directly."""
        found = {node_id: frozenset(self._indexes.dependents.of(node_id)) for node_id in node_ids}
        return {node_id: each for node_id, each in found.items() if each}

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether a pending, active or parked sentinel of the namespace is of this content."""
        return namespace in self._indexes.references.of(digest)

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> dict[str, NodeUsage]:
        """Nodes with those of the given tags that active contents assign, and their current shared queues."""
        found = self._picked(NodeRow, asked)
        return {
            node_id: NodeUsage(row, self._tags(node_id).intersection(asked[node_id]), self._queues(node_id))
            for node_id, row in found.items()
        }

    def _tags(self, node_id: str) -> frozenset[str]:
        return frozenset[str]().union(*self._indexes.tags_in_force.of(node_id))

    def _queues(self, node_id: str) -> tuple[QueueRow, ...]:
        return tuple(self._current(sorted(self._indexes.shared_of.of(node_id))).values())

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """Tag queries in active contents that name any of these (tag, interval) pairs, by node id."""
        found: set[str] = set().union(
            *(self._indexes.queries_by_tag.of((interval, tag)) for tag, interval in set(asked))
        )
        nodes = self.table(NodeRow)
        return tuple(nodes[node_id] for node_id in sorted(found) if self._indexes.in_force(node_id))

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> dict[TagSetKey, int]:
        """The revision of each tag set, 0 for a new one."""
        table = self.table(TagSetRow)
        return {key: table[key].revision if key in table else 0 for key in keys}

    def nodes(self, node_ids: Iterable[str]) -> dict[str, NodeRow]:
        """Node rows by id."""
        return self._picked(NodeRow, node_ids)

    def queues_by_topic(self, topics: Iterable[str]) -> dict[str, QueueRow]:
        """Queue rows by topic."""
        return self._picked(QueueRow, topics)

    def open_claim(self, claim_id: str) -> OpenClaim:
        """The provisioning queues and pending sentinels of this claim, by topic and by key."""
        queues, sentinels = self.table(QueueRow), self.table(SentinelRow)
        pending = sorted(self._indexes.claimed_sentinels.of(claim_id))
        lineages = {LineageKey(key.lineage, key.namespace) for key in pending}
        return OpenClaim(
            tuple(queues[topic] for topic in sorted(self._indexes.claimed_queues.of(claim_id))),
            tuple(sentinels[key] for key in pending),
            {each: self._sentinels(each) for each in sorted(lineages)},
        )

    def holders_of(self, sentinel: RowKey) -> tuple[HolderRow, ...]:
        """The holders of this sentinel, by key."""
        holders = self.table(HolderRow)
        return tuple(holders[key] for key in sorted(self._indexes.holders_of.of(sentinel)))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """The first `limit` outbox rows to publish, in order."""
        events = self.table(OutboxRow)
        return tuple(events[entry[-1]] for entry in self._indexes.waiting[: max(limit, 0)])

    def overdue_claims(self, now_ms: int, limit: int) -> tuple[str, ...]:
        """At most `limit` claims of which every lease is over, oldest first."""
        return tuple(self._indexes.overdue(now_ms)[: max(limit, 0)])

    def epoch_reading(self, counters: Sequence[str], now_ms: int) -> EpochReading:
        """The epoch and these counters."""
        return EpochReading(
            self.counter(EPOCH_COUNTER), {name: self.counter(name) for name in counters}, now_ms
        )

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """At most `limit` queues whose topic sorts after this one, by topic.

        Scans all topics: called once per poll, on a store that fits into memory.
        """
        queues = self.table(QueueRow)
        names = nsmallest(max(limit, 0), (name for name in queues if name > topic))
        return tuple(queues[name] for name in names)

    def counter(self, name: str) -> int:
        """The value of a counter, 0 for a new one."""
        row = self.table(CounterRow).get(name)
        return row.value if row else 0

    def _picked(self, kind: type[R], keys: Iterable[RowKey]) -> dict[Any, R]:
        table = self.table(kind)
        return {key: row for key in keys if (row := table.get(key)) is not None}

    def _current(self, bindings: Iterable[Binding]) -> dict[Binding, QueueRow]:
        queues = self.table(QueueRow)
        return {
            binding: queues[topic]
            for binding in bindings
            if (topic := self._indexes.current(binding)) is not None
        }

    def _sentinels(self, lineage: LineageKey) -> tuple[SentinelRow, ...]:
        rows = self.table(SentinelRow)
        keys = sorted(self._indexes.sentinels_of.of(lineage), key=lambda key: (key.version, key.revision))
        return tuple(rows[key] for key in keys)

    def _refers(self, node_id: str, namespace: str) -> bool:
        return namespace in self._indexes.referenced_nodes.of(node_id)
