"""The naive graph: a dictionary of rows, every read a scan. The model that the stores are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dagmanager.engine.model.graph_port import (
    EpochReading,
    HolderInsert,
    Known,
    Locks,
    LookupKeys,
    NodeUsage,
    OpenClaim,
    TaggedQueue,
    TagQuestion,
    TakenName,
    Transaction,
)
from dagmanager.engine.model.rows import (
    GONE,
    Binding,
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutboxState,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    TagSetKey,
    TagSetRow,
    fold,
)
from dagmanager.engine.model.version_rows import (
    REFERENCING,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
)
from dagmanager.engine.transactions.add_holder import insert_holder
from dagmanager.errors import ConstraintError

T = TypeVar("T")
R = TypeVar("R")


class NaiveGraph:
    """Graph and Transaction in one; a failed transaction puts the old dictionary back."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.all: dict[tuple[type[Any], Any], Any] = {}

    def transact(self, work: Callable[[Transaction], T]) -> T:
        before = dict(self.all)
        try:
            return work(self)
        except BaseException:
            self.all = before
            raise

    def of(self, kind: type[R]) -> Iterator[R]:
        return (row for (found, _), row in self.all.items() if found is kind)

    def now_ms(self) -> int:
        return self.clock()

    def lock(self, locks: Locks) -> None:
        pass

    def put(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for other in self.all.values():
                if (
                    type(other) is type(row)
                    and other.key != row.key
                    and _name(other) == _name(row) is not None
                ):
                    raise ConstraintError(str(_name(row)))
            before = self.all.get((type(row), row.key))
            if isinstance(row, QueueRow) and before is not None and before.binding != row.binding:
                raise ConstraintError(str(_name(row)))
            self.all[type(row), row.key] = row

    def delete(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.all.pop((type(row), row.key), None)

    def known(self, keys: LookupKeys) -> Known:
        outcomes = {row.key: row for row in self.of(OutcomeRow) if row.key in keys.outcomes}
        sentinels: dict[LineageKey, tuple[SentinelRow, ...]] = {}
        for key in keys.lineages:
            rows = [row for row in self.of(SentinelRow) if _lineage(row) == key]
            if rows:
                sentinels[key] = tuple(sorted(rows, key=lambda row: (row.key.version, row.key.revision)))
        node_ids = {binding.node_id for binding in keys.bindings}
        named = {topic for row in outcomes.values() for topic in row.topics}
        return Known(
            nodes={row.key: row for row in self.of(NodeRow) if row.key in node_ids},
            queues={each: row for each in keys.bindings if (row := self.current(each))},
            lineages={row.key: row for row in self.of(LineageRow) if row.key in keys.lineages},
            sentinels=sentinels,
            holders={row.key: row for row in self.of(HolderRow) if row.key in keys.holders},
            outcomes=outcomes,
            outcome_queues={row.key: row for row in self.of(QueueRow) if row.key in named},
            epoch=self.counter("epoch"),
            safe_topics=sum(
                bool(row.binding.safe) and row.state not in GONE
                for row in self.of(QueueRow)
                if any(binding.safe for binding in keys.bindings)
            ),
            now_ms=self.clock(),
        )

    def current(self, binding: Binding) -> QueueRow | None:
        rows = [row for row in self.of(QueueRow) if row.binding == binding]
        # Two of one incarnation never happen; the tie is broken as the embedded graphs do it.
        return max(rows, key=lambda row: (row.incarnation, row.topic), default=None)

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        holds = all if match_mode == "all" else any
        found = [
            TaggedQueue(queue.topic, node.global_, node.tags)
            for node in self.of(NodeRow)
            if node.tag_query is None
            and node.interval == interval
            and tags
            and holds(tag in node.tags for tag in tags)
            and (queue := self.current(Binding(node.node_id, namespace)))
            and queue.state is QueueState.ACTIVE
        ]
        return tuple(sorted(found, key=lambda each: each.topic))

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        return tuple(self.tagged(each.tags, each.interval, each.match_mode, each.namespace) for each in asked)

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        wanted = set(digests)
        return {row.digest: row for row in self.of(ContentRow) if row.digest in wanted}

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        return TakenName(
            frozenset(topics) & {fold(row.topic) for row in self.of(QueueRow)},
            frozenset(base_names) & {fold(row.base_name) for row in self.of(NodeRow)},
        )

    def members(self, states: Iterable[SentinelState], namespace: str | None = None) -> Iterator[Any]:
        wanted = {
            row.content
            for row in self.of(SentinelRow)
            if row.state in states and namespace in {None, row.key.namespace}
        }
        return (member for row in self.of(ContentRow) if row.digest in wanted for member in row.members)

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        inside = {member.node_id for member in self.members(REFERENCING, namespace)}
        below = {each for row in self.of(NodeRow) if row.key in inside for each in row.dependencies}
        return frozenset(node_ids) & (inside | below)

    def dependents(self, node_ids: Iterable[str]) -> Mapping[str, frozenset[str]]:
        rows = tuple(self.of(NodeRow))
        found = {each: frozenset(row.key for row in rows if each in row.dependencies) for each in node_ids}
        return {each: above for each, above in found.items() if above}

    def content_referenced(self, digest: str, namespace: str) -> bool:
        return any(
            row.content == digest and row.key.namespace == namespace and row.state in REFERENCING
            for row in self.of(SentinelRow)
        )

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        return {
            each: NodeUsage(row, self.tags(each).intersection(asked[each]), self.queues(each))
            for each, row in self.nodes(asked).items()
        }

    def tags(self, node_id: str) -> frozenset[str]:
        active = self.members([SentinelState.ACTIVE])
        return frozenset(tag for each in active if each.node_id == node_id for tag in each.tags)

    def queues(self, node_id: str) -> tuple[QueueRow, ...]:
        bindings = {row.binding for row in self.of(QueueRow) if row.binding.node_id == node_id}
        return tuple(row for each in sorted(bindings) if not each.safe and (row := self.current(each)))

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        active = {member.node_id for member in self.members([SentinelState.ACTIVE])}
        wanted = set(asked)
        found = [
            row
            for row in self.of(NodeRow)
            if row.tag_query is not None
            and any((tag, row.tag_query.interval) in wanted for tag in row.tag_query.tags)
            and row.key in active
        ]
        return tuple(sorted(found, key=lambda row: row.node_id))

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        found = {row.key: row.revision for row in self.of(TagSetRow)}
        return {key: found.get(key, 0) for key in keys}

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        wanted = set(node_ids)
        return {row.key: row for row in self.of(NodeRow) if row.key in wanted}

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        wanted = set(topics)
        return {row.key: row for row in self.of(QueueRow) if row.key in wanted}

    def open_claim(self, claim_id: str) -> OpenClaim:
        queues = [
            r for r in self.of(QueueRow) if r.claim_id == claim_id and r.state is QueueState.PROVISIONING
        ]
        pending = [
            r for r in self.of(SentinelRow) if r.claim_id == claim_id and r.state is SentinelState.PENDING
        ]
        lineages = frozenset(LineageKey(row.key.lineage, row.key.namespace) for row in pending)
        return OpenClaim(
            tuple(sorted(queues, key=lambda r: r.topic)),
            tuple(sorted(pending, key=lambda r: r.key)),
            self.known(LookupKeys(lineages=lineages)).sentinels,
        )

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        found = [row for row in self.of(HolderRow) if row.sentinel == sentinel]
        return tuple(sorted(found, key=lambda row: row.key))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        waiting = [row for row in self.of(OutboxRow) if row.state is OutboxState.WAITING]
        waiting.sort(key=lambda row: (row.created_ms, row.stream, row.revision, row.event_id))
        return tuple(waiting[:limit])

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        last: dict[str, int] = {}
        rows: list[QueueRow | SentinelRow] = [*self.of(QueueRow), *self.of(SentinelRow)]
        for row in rows:
            if row.claim_id and row.state in {QueueState.PROVISIONING, SentinelState.PENDING}:
                last[row.claim_id] = max(last.get(row.claim_id, 0), row.lease_until_ms)
        overdue = sorted((until, claim_id) for claim_id, until in last.items() if until <= self.clock())
        return tuple(claim_id for _, claim_id in overdue[:limit])

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        found = sorted((row for row in self.of(QueueRow) if row.topic > topic), key=lambda row: row.topic)
        return tuple(found[:limit])

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        return {name: self.counter(name) for name in names}

    def counter(self, name: str) -> int:
        return next((row.value for row in self.of(CounterRow) if row.name == name), 0)

    def epoch(self) -> int:
        return self.counter("epoch")

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        return EpochReading(self.epoch(), self.counters(counters), self.clock())

    def warm_up(self, enough: Callable[[], bool]) -> None:
        pass

    def add_holder(self, insert: HolderInsert) -> bool:
        return self.transact(lambda tx: insert_holder(tx, insert))

    def raise_epoch(self) -> int:
        self.put([CounterRow("epoch", self.epoch() + 1)])
        return self.epoch()


def _name(row: object) -> str | None:
    if isinstance(row, QueueRow):
        return fold(row.topic)
    return fold(row.base_name) if isinstance(row, NodeRow) else None


def _lineage(row: SentinelRow) -> LineageKey:
    return LineageKey(row.key.lineage, row.key.namespace)
