"""The rows of a lineage that a claim writes: its clock, a content, sentinels, and the holder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.holder_counters import count_holder_change, counter_of
from dagmanager.engine.decide.holder_history import next_history
from dagmanager.engine.decide.next_version import lineage_clock
from dagmanager.engine.decide.rollout import start_change
from dagmanager.engine.decide.submission_keys import holder_key
from dagmanager.engine.model.graph_port import Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import sentinel_id
from dagmanager.engine.model.policy import Policy
from dagmanager.engine.model.rows import Binding, ContentRow, Member, QueueRow
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    ClaimTerms,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
)
from dagmanager.engine.model.version_rows import (
    HolderRow,
    LineageKey,
    SentinelKey,
    SentinelRow,
    SentinelState,
)
from dagmanager.engine.transactions.activate import put_changed_versions, sentinels_of, weight_counter
from dagmanager.engine.transactions.decision import Decision
from dagmanager.engine.transactions.references import TagDelta, content_nodes, mark_referenced


class VersionStep(msgspec.Struct, frozen=True):
    """A change of a lineage: what was asked, what it changes, the nodes that are new to the graph, and the topics of
    rivals that a new version has to wait for (`waits`)."""

    request: VersionRequest
    change: VersionChange
    introduced: tuple[str, ...]
    waits: tuple[str, ...] = ()


class VersionWrites(msgspec.Struct, frozen=True):
    """What was written: the tag deltas of active contents that changed at once (by a weight), and the lineage's
    sentinels as they are now; these are empty when the change left nothing to activate."""

    deltas: Mapping[str, TagDelta] = {}
    sentinels: tuple[SentinelRow, ...] = ()


def put_version_change(tx: Transaction, decision: Decision, step: VersionStep) -> VersionWrites:
    """Write a change of a lineage, which is locked, and the submission's holder."""
    submission, options = decision.submission, decision.options
    request, change = step.request, step.change
    sentinels = decision.known.sentinels.get(request.key, ())
    lineage = decision.known.lineages.get(request.key)
    now_ms = tx.now_ms()
    terms = ClaimTerms(decision.claim_id, options.owner, now_ms + options.policy.lease_ms, now_ms)
    tx.put([lineage_clock(lineage, request, change)])
    if isinstance(change, NewSentinel):
        tx.put([content_row(submission)])
    sentinel = _sentinel_of(change)
    key = holder_key(submission)
    holder = decision.known.holders.get(key)
    before = {row.key: row for row in sentinels}
    rows = [
        _with_identity(row, before.get(row.key), submission, step) if row.key == sentinel else row
        for row in start_change(change, sentinels, request, terms)
    ]
    if isinstance(change, AddHolder):
        rows = _with_last_seen(change, rows, options.policy, now_ms)
    # With the counters that `put_changed_versions` may need: a later lock of a smaller name could deadlock.
    weights = set(map(weight_counter, (*before.values(), *rows)))
    if holder is not None:
        tx.lock(Locks(counters=tuple(sorted({counter_of(key), *weights}))))
        count_holder_change(tx, key)
    elif isinstance(change, ChangeWeight) and change.returning:
        tx.lock(Locks(counters=tuple(sorted(weights))))
    tx.put(
        [
            HolderRow(
                key,
                sentinel,
                submission.submission_digest,
                request.weight,
                now_ms,
                next_history(holder, request.submission_digest, request.at_ms, request.position),
            )
        ]
    )
    if isinstance(change, NewSentinel | Reinstate | ChangeWeight) and change.returning:
        # Now, not at activation: from here on the sentinels reference these queues, and a mark would let them be collected.
        tx.put(_queues_of(tx, request.key, [before[each].content for each in change.returning]))
    if isinstance(change, ChangeWeight):
        deltas = put_changed_versions(tx, request.key, tuple(before.values()), tuple(rows), now_ms)
        return VersionWrites(deltas, sentinels_of(tx, request.key) if change.returning else ())
    tx.put(rows)
    after = {**before, **{row.key: row for row in rows}}
    return VersionWrites(sentinels=tuple(row for _, row in sorted(after.items())))


def _queues_of(tx: Transaction, lineage: LineageKey, contents: Sequence[str]) -> list[QueueRow]:
    """The queues of these contents that were marked unreferenced, without the mark: their versions come back."""
    bindings = frozenset(Binding(each, lineage.namespace) for each in content_nodes(tx, contents))
    return mark_referenced(tx.known(LookupKeys(bindings=bindings)).queues.values())


def _sentinel_of(change: VersionChange) -> SentinelKey:
    match change:
        case NewSentinel(key=key) | Reinstate(key=key):
            return key
        case Resend(sentinel=row) | AddHolder(sentinel=row) | ChangeWeight(sentinel=row):
            return row.key


def _with_identity(
    row: SentinelRow, before: SentinelRow | None, submission: Submission, step: VersionStep
) -> SentinelRow:
    """A pending row, with what an earlier time in force has left: the id that clients saw, and its weight revision."""
    if row.state is not SentinelState.PENDING:
        return row
    # Clients keep the id and the last etag that they saw: counting from 0 again would repeat etags, and they would drop
    # the events.
    old_id = before.sentinel_id if before is not None else ""
    return replace(
        row,
        sentinel_id=old_id or sentinel_id(submission.strategy_id),
        weight_revision=before.weight_revision if before is not None else 0,
        introduced=tuple(sorted({*row.introduced, *step.introduced})),
        waits=step.waits,
    )


def _with_last_seen(
    change: AddHolder, rows: list[SentinelRow], policy: Policy, now_ms: int
) -> list[SentinelRow]:
    """The rows, with a new `last_seen_ms` if the old one is old enough: written once a day (docs/semantics.md 6)."""
    current = rows[0] if rows else change.sentinel
    # In pending rows `last_seen_ms` is the order of the claims.
    pending = current.state is SentinelState.PENDING
    if pending or now_ms - current.last_seen_ms < policy.last_seen_every_ms:
        return rows
    return [replace(current, last_seen_ms=now_ms)]


def content_row(submission: Submission) -> ContentRow:
    """The content of a submission, in DAG order: pairing with a later version compares positions
    (docs/semantics.md 3)."""
    nodes = submission.dag.nodes
    members = [Member(node.node_id, node.schema_hash, node.tags, node.name) for node in nodes]
    outside = tuple(sorted(submission.dag.external))
    return ContentRow(submission.dag.content_digest, tuple(members), outside)
