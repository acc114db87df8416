"""Step 3 of the effects: one transaction activates the queues and the version of a claim.

The previous version is superseded, queues that nothing references any more are marked, the tags of nodes are updated,
and events go to the outbox. All of it happens only if the claim still belongs to this process.

The order is fixed by what each part reads: queues first (a version waits for them), then the lineage's sentinels with
their references, then the tags, which follow from the active contents, then the events, which list what is active now.
Like a claim, the transaction may find that it must lock more, and then runs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType

import msgspec

from dagmanager.engine.decide.rollout import finish_change
from dagmanager.engine.model.graph_port import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.model.rows import CounterRow, NodeRow, QueueRow, QueueState, Row
from dagmanager.engine.model.version_rows import REFERENCING, LineageKey, SentinelRow, SentinelState
from dagmanager.engine.transactions.decision import NO_LOCKS
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


def activate_in(
    graph: Graph, claim_id: str, topic_ids: Mapping[str, str], owner: str, expected: Locks = NO_LOCKS
) -> frozenset[str]:
    """Activate a claim whose topics were verified; the topics that this activated.

    `topic_ids` maps each verified topic to the broker's id. `expected` are the locks that activation will need, as far as
    known: each one missing costs another transaction. Idempotent: a finished claim gives an empty set. Raises
    `ClaimLostError` when another process owns the claim, and as `Graph.transact`.
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
    """Activate under these locks; answers larger ones, and has written nothing, when the claim changes more than they
    cover: the caller runs the transaction again with these.
    """
    tx.lock(locks)
    claim = tx.open_claim(claim_id)
    needed = locks_of(claim)
    touched = set(needed.nodes).union(*(nodes_to_lock(tx, rows) for rows in claim.versions.values()))
    if not touched.issubset(locks.nodes) or not set(needed.lineages).issubset(locks.lineages):
        # Together with the former ones: a set that could also shrink might alternate between two for ever.
        return Locks(
            lineages=tuple(sorted({*needed.lineages, *locks.lineages})),
            nodes=tuple(sorted(touched.union(locks.nodes))),
        )
    # Before `must_own`, which raises for a finished claim: this may be the repeat of a commit that was not confirmed.
    if not claim.queues and not claim.sentinels:
        return frozenset()
    # Only under the locks: before them, another process could take the claim over between check and write.
    must_own(claim_id, claim, owner)
    # A queue whose topic was not verified stays claimed: an active queue is one that clients may use at once.
    ready = [row for row in claim.queues if row.topic in topic_ids]
    activate_claimed(tx, ready, claim.sentinels, topic_ids, {}, claim.versions)
    return frozenset(row.topic for row in ready)


def activate_claimed(
    tx: Transaction,
    queues: Iterable[QueueRow],
    sentinels: Iterable[SentinelRow],
    topic_ids: Mapping[str, str],
    deltas: Mapping[str, TagDelta],
    versions: Mapping[LineageKey, tuple[SentinelRow, ...]] = MappingProxyType({}),
) -> None:
    """Activate these queues and pending sentinels in a transaction that has all locks.

    `deltas` are changes of tags that this transaction made before; `versions` are the sentinels of lineages that the
    caller has read, to save a read.
    """
    known, changes = dict(versions), [deltas]
    now_ms = tx.now_ms()
    # Without claim and owner: otherwise the poll would find the queues again as an unfinished claim.
    fresh = [
        msgspec.structs.replace(
            row, state=QueueState.ACTIVE, topic_id=topic_ids.get(row.topic, ""), claim_id="", owner=""
        )
        for row in queues
    ]
    tx.put(fresh)
    waiting = tuple(sentinels)
    if len(waiting) > 1:
        # A claim may bring a version of another label into force, too. All counters at once, in the order of the locks.
        lineages = {LineageKey(row.key.lineage, row.key.namespace) for row in waiting}
        known |= {each: sentinels_of(tx, each) for each in lineages.difference(known)}
        names = {weight_counter(row) for each in lineages for row in known[each]}
        tx.lock(Locks(counters=tuple(sorted(names))))
    # Each sentinel is decided from the rows that the one before it left.
    for pending in waiting:
        if not _has_its_queues(tx, pending):
            continue
        lineage = LineageKey(pending.key.lineage, pending.key.namespace)
        before = known.pop(lineage, None) or sentinels_of(tx, lineage)
        changes.append(
            put_changed_versions(tx, lineage, before, finish_change(pending, before, now_ms), now_ms)
        )
    # An empty delta for each new queue: it has to be announced although no tag has changed.
    every = merge_deltas([*changes, {row.binding.node_id: TagDelta() for row in fresh}])
    if every:
        changed, asked = _put_tags(tx, every, {row.topic for row in fresh})
        tx.put(tag_event_rows(tx, changed, asked, now_ms))


def _has_its_queues(tx: Transaction, pending: SentinelRow) -> bool:
    """Whether the queues that it joined are active. Until then its lineage keeps the version it has."""
    found = tx.queues_by_topic(pending.waits)
    return all(topic in found and found[topic].state is QueueState.ACTIVE for topic in pending.waits)


def put_changed_versions(
    tx: Transaction,
    lineage: LineageKey,
    before: tuple[SentinelRow, ...],
    after: tuple[SentinelRow, ...],
    now_ms: int,
) -> dict[str, TagDelta]:
    """Put the changed sentinels of a lineage with their weight events, and mark the queues that nothing references now.

    `before` are all of its sentinels, `after` those that change. The tag deltas of its active contents.
    """
    old = {row.key: row for row in before}
    # A revision is taken only for a weight that changes: clients ignore an event that repeats an etag.
    counters = {weight_counter(row) for row in after if row.weight != old[row.key].weight}
    tx.lock(Locks(counters=tuple(sorted(counters))))
    revisions = dict(tx.counters(counters)) if counters else {}
    rows: list[Row] = []
    # The version that gains most comes last: versions may share the id that clients see, and a client keeps the last
    # weight of an id, which must be that of the version in force.
    for row in sorted(after, key=lambda row: row.weight - old[row.key].weight):
        was = old[row.key]
        changed = row
        if row.state is not SentinelState.PENDING:  # activated, or superseded while it was pending
            changed = msgspec.structs.replace(row, claim_id="", owner="", lease_until_ms=0, waits=())
        if row.weight != was.weight:
            revisions[weight_counter(row)] += 1
            changed = msgspec.structs.replace(changed, weight_revision=revisions[weight_counter(row)])
            rows.append(_weight_event(changed, now_ms))
        rows.append(changed)
    rows.extend(CounterRow(name, revision) for name, revision in sorted(revisions.items()))
    # Before the questions below, which must see the new states.
    tx.put(rows)
    now = tuple({**old, **{row.key: row for row in after}}.values())
    staying = {row.content for row in now if row.state in REFERENCING}
    left = sorted({row.content for row in after}.difference(staying))
    # Another lineage of the namespace may have a version with the same content.
    lost = [content for content in left if not tx.content_referenced(content, lineage.namespace)]
    if lost:
        # Without the nodes of the contents that stay: they keep their references, and need not be locked.
        gone = content_nodes(tx, lost).difference(content_nodes(tx, staying))
        tx.put(mark_unreferenced(tx, gone, lineage.namespace, now_ms))
    return tag_deltas(tx, before, now)


def weight_counter(row: SentinelRow) -> str:
    """The revision counter of a sentinel's weights. One per id that clients see: versions and worlds share such an id, and
    a client tells the events of one id apart by their etag, which names no world."""
    return f"weights:{row.sentinel_id}"


def _weight_event(row: SentinelRow, now_ms: int) -> Row:
    stamp = EventStamp(row.weight_revision, now_ms)
    return sentinel_weight_updated(row.sentinel_id, row.key.version, row.weight, stamp, _scope(row))


def _scope(row: SentinelRow) -> Scope:
    return Scope(row.world_id, row.execution_domain) if row.key.namespace else Scope()


def sentinels_of(tx: Transaction, lineage: LineageKey) -> tuple[SentinelRow, ...]:
    """All sentinels of one lineage."""
    return tx.known(LookupKeys(lineages=frozenset({lineage}))).sentinels.get(lineage, ())


def _put_tags(
    tx: Transaction, deltas: Mapping[str, TagDelta], fresh: set[str]
) -> tuple[list[TagSetChange], frozenset[tuple[str, int]]]:
    """Put the new tags and names of these nodes; the changes of tag sets, one per active queue, and the (tag, interval in seconds)
    pairs of the tag queries among the nodes.

    `fresh` are topics that became active in this transaction.
    """
    changes: list[TagSetChange] = []
    rows: list[NodeRow] = []
    asked: set[tuple[str, int]] = set()
    # Gained tags are in force by this change. Only lost ones may be assigned by others; asking is expensive.
    found = tx.node_usage({node_id: sorted(delta.lost) for node_id, delta in sorted(deltas.items())})
    for node_id, usage in sorted(found.items()):
        row, after = usage.node, deltas[node_id].after(usage.node.tags, usage.still_assigned)
        name = deltas[node_id].name or row.name
        if (after, name) != (row.tags, row.name):
            rows.append(msgspec.structs.replace(row, tags=after, name=name))
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
            for queue in usage.queues
            if queue.state is QueueState.ACTIVE and (queue.topic in fresh or after != row.tags)
        )
    tx.put(rows)
    return changes, frozenset(asked)
