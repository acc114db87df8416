"""Step 3 of the effects: what was provisioned becomes true, in one transaction.

Queues and sentinel become active, the previous version leaves, references are counted, tags and
events are brought up to date. It checks that the claim is still ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import msgspec

from dagmanager.engine.decide.rollout import finish_change
from dagmanager.engine.model.graph_port import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.model.rows import (
    REFERENCING,
    CounterRow,
    LineageKey,
    NodeRow,
    QueueRow,
    QueueState,
    Row,
    SentinelRow,
    SentinelState,
)
from dagmanager.engine.transactions.lease import locks_of, must_own
from dagmanager.engine.transactions.references import (
    TagDelta,
    content_nodes,
    mark_unreferenced,
    merge_deltas,
    nodes_to_lock,
    tag_deltas,
)
from dagmanager.engine.transactions.tag_events import TagSetChange, tag_event_rows
from dagmanager.engine.wire.events import EventStamp, Scope, sentinel_weight_updated

NOTHING: Final = Locks()


def activate_in(
    graph: Graph, claim_id: str, topic_ids: Mapping[str, str], owner: str, expected: Locks = NOTHING
) -> frozenset[str]:
    """Activate a claim whose topics were verified; the topics that came to life by this.

    `topic_ids` maps each topic to the broker's id; `expected` saves a look at what must be locked. Raises
    `ClaimLostError` when another process took the claim over.
    """
    while True:
        work = partial(activate, claim_id=claim_id, topic_ids=topic_ids, owner=owner, locks=expected)
        result = graph.transact(work)
        if not isinstance(result, Locks):
            return result
        expected = result


def activate(
    tx: Transaction, claim_id: str, topic_ids: Mapping[str, str], owner: str, locks: Locks
) -> frozenset[str] | Locks:
    """Once under these locks. Answers what to lock instead when the claim changes more than they cover: the
    caller runs the transaction again with those.
    """
    tx.lock(locks)
    claim = tx.open_claim(claim_id)
    needed = locks_of(claim)
    touched = set(needed.nodes).union(*(nodes_to_lock(tx, rows) for rows in claim.versions.values()))
    if not touched.issubset(locks.nodes) or not set(needed.lineages).issubset(locks.lineages):
        return Locks(
            lineages=tuple(sorted({*needed.lineages, *locks.lineages})),
            nodes=tuple(sorted(touched.union(locks.nodes))),
        )
    if not claim.queues and not claim.sentinels:
        return frozenset()
    must_own(claim_id, claim, owner)
    ready = [row for row in claim.queues if row.topic in topic_ids]
    activate_claimed(tx, ready, claim.sentinels, topic_ids, {}, claim.versions)
    return frozenset(row.topic for row in ready)


def activate_claimed(
    tx: Transaction,
    queues: Iterable[QueueRow],
    sentinels: Iterable[SentinelRow],
    topic_ids: Mapping[str, str],
    moved: Mapping[str, TagDelta],
    versions: Mapping[LineageKey, tuple[SentinelRow, ...]] = MappingProxyType({}),
) -> None:
    """The same inside a transaction that holds the locks already (nothing had to be provisioned).

    `moved` are nodes whose place in an active content has changed before, in this transaction; `versions`
    what is known of the lineages already.
    """
    known, shifts = dict(versions), [moved]
    now_ms = tx.now_ms()
    fresh = [
        msgspec.structs.replace(
            row, state=QueueState.ACTIVE, topic_id=topic_ids.get(row.topic, ""), claim_id="", owner=""
        )
        for row in queues
    ]
    tx.put(fresh)
    for pending in sentinels:
        if not _is_up(tx, pending):
            continue
        lineage = LineageKey(pending.key.lineage, pending.key.namespace)
        before = known.pop(lineage, None) or sentinels_of(tx, lineage)
        shifts.append(
            put_changed_versions(tx, lineage, before, finish_change(pending, before, now_ms), now_ms)
        )
    every = merge_deltas([*shifts, {row.binding.node_id: TagDelta() for row in fresh}])
    if every:
        changes, asked = _changes(tx, every, {row.topic for row in fresh})
        tx.put(tag_event_rows(tx, changes, asked, now_ms))


def _is_up(tx: Transaction, pending: SentinelRow) -> bool:
    """Whether the queues that it joined are there: before that, its lineage keeps the version it has."""
    found = tx.queues_by_topic(pending.waits)
    return all(topic in found and found[topic].state is QueueState.ACTIVE for topic in pending.waits)


def put_changed_versions(
    tx: Transaction,
    lineage: LineageKey,
    before: tuple[SentinelRow, ...],
    after: tuple[SentinelRow, ...],
    now_ms: int,
) -> dict[str, TagDelta]:
    """Put the lineage's changed sentinels with their weight events, and free what nobody references.

    Answers the nodes whose place in an active content changed.
    """
    old = {row.key: row for row in before}
    counters = {weight_counter(row) for row in after if row.weight != old[row.key].weight}
    tx.lock(Locks(counters=tuple(sorted(counters))))
    revisions = dict(tx.counters(counters)) if counters else {}
    rows: list[Row] = []
    # Who gains is told last: versions may share the id that clients see, and who has the last word on it is in force.
    for row in sorted(after, key=lambda row: row.weight - old[row.key].weight):
        was = old[row.key]
        changed = row
        if row.state is not SentinelState.PENDING:  # it may have been superseded before its time
            changed = msgspec.structs.replace(row, claim_id="", owner="", lease_until_ms=0, waits=())
        if row.weight != was.weight:
            revisions[weight_counter(row)] += 1
            changed = msgspec.structs.replace(changed, weight_revision=revisions[weight_counter(row)])
            rows.append(_weight_event(changed, now_ms))
        rows.append(changed)
    rows.extend(CounterRow(name, revision) for name, revision in sorted(revisions.items()))
    tx.put(rows)
    now = tuple({**old, **{row.key: row for row in after}}.values())
    staying = {row.content for row in now if row.state in REFERENCING}
    left = sorted({row.content for row in after}.difference(staying))
    lost = [content for content in left if not tx.content_referenced(content, lineage.namespace)]
    if lost:
        gone = content_nodes(tx, lost).difference(content_nodes(tx, staying))
        tx.put(mark_unreferenced(tx, gone, lineage.namespace, now_ms))
    return tag_deltas(tx, before, now)


def weight_counter(row: SentinelRow) -> str:
    """One counter per id that clients see: versions and worlds share that id, and a client tells the events of one id
    apart by their etag, which names no world."""
    return f"weights:{row.sentinel_id}"


def _weight_event(row: SentinelRow, now_ms: int) -> Row:
    moment = EventStamp(row.weight_revision, now_ms)
    return sentinel_weight_updated(row.sentinel_id, row.key.version, row.weight, moment, _scope(row))


def _scope(row: SentinelRow) -> Scope:
    return Scope(row.world_id, row.execution_domain) if row.key.namespace else Scope()


def sentinels_of(tx: Transaction, lineage: LineageKey) -> tuple[SentinelRow, ...]:
    """All sentinels of one lineage."""
    return tx.known(LookupKeys(lineages=frozenset({lineage}))).sentinels.get(lineage, ())


def _changes(
    tx: Transaction, shifts: Mapping[str, TagDelta], fresh: set[str]
) -> tuple[list[TagSetChange], frozenset[tuple[str, int]]]:
    """Bring the nodes' tags up to date; what changed for whom, one entry per queue.

    Beside it what the tag queries among the nodes ask for: (tag, interval).
    """
    changes: list[TagSetChange] = []
    rows: list[NodeRow] = []
    asked: set[tuple[str, int]] = set()
    # What is gained is in force; only for what is lost the graph is asked, since it looks at every content.
    found = tx.node_usage({node_id: sorted(shift.lost) for node_id, shift in sorted(shifts.items())})
    for node_id, place in sorted(found.items()):
        row, after = place.node, shifts[node_id].after(place.node.tags, place.still_assigned)
        if after != row.tags:
            rows.append(msgspec.structs.replace(row, tags=after))
        if row.tag_query is not None:
            query = row.tag_query
            asked.update((tag, query.interval) for tag in query.tags if query.interval is not None)
            continue
        changes.extend(
            TagSetChange(
                node_id=node_id,
                interval=row.interval,
                namespace=queue.binding.namespace,
                topic=queue.topic,
                global_=row.global_,
                before=row.tags if queue.topic not in fresh else after,
                after=after,
                world_id=queue.world_id if queue.binding.namespace else "",
                execution_domain=queue.execution_domain if queue.binding.namespace else "",
            )
            for queue in place.queues
            if queue.state is QueueState.ACTIVE and (queue.topic in fresh or after != row.tags)
        )
    tx.put(rows)
    return changes, frozenset(asked)
