"""What a version change writes inside the claim: lineage, content, sentinels, holder."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.holder_counters import count_holder_change, counter_of
from dagmanager.engine.decide.holder_history import next_history
from dagmanager.engine.decide.rollout import start_change
from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.policy import Policy
from dagmanager.engine.model.rows import (
    ContentRow,
    HolderKey,
    HolderRow,
    LineageRow,
    Member,
    SentinelKey,
    SentinelRow,
    SentinelState,
)
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
from dagmanager.engine.transactions.activate import put_changed_versions, weight_counter
from dagmanager.engine.transactions.claim_node_rows import Decision
from dagmanager.engine.transactions.references import TagDelta


class VersionStep(msgspec.Struct, frozen=True):
    """A lineage's next step: what was asked, what it changes, which nodes are new with it."""

    request: VersionRequest
    change: VersionChange
    introduced: tuple[str, ...]
    waits: tuple[str, ...] = ()


class Versioned(msgspec.Struct, frozen=True):
    """What a step did: nodes `moved` into or out of an active content at once (weights, promotions), and the
    lineage's sentinels as they are now.
    """

    moved: Mapping[str, TagDelta] = {}
    sentinels: tuple[SentinelRow, ...] = ()


def put_version_change(tx: Transaction, decision: Decision, step: VersionStep) -> Versioned:
    """Put the rows."""
    submission, options = decision.submission, decision.options
    request, change = step.request, step.change
    sentinels = decision.known.sentinels.get(request.key, ())
    lineage = decision.known.lineages.get(request.key)
    now_ms = tx.now_ms()
    claim = ClaimTerms(decision.claim_id, options.owner, now_ms + options.policy.lease_ms, now_ms)
    newest = max(request.at_ms, lineage.last_at_ms if lineage is not None else 0)
    tx.put([LineageRow(request.key, newest)])
    if isinstance(change, NewSentinel):
        tx.put([content_row(submission)])
    told = _told(change)
    key = HolderKey(submission.strategy_id, submission.context.namespace)
    holder = decision.known.holders.get(key)
    before = {row.key: row for row in sentinels}
    rows = [
        _identified(row, before.get(row.key), submission, step)
        for row in start_change(change, sentinels, request, claim)
    ]
    if isinstance(change, AddHolder):
        rows = _seen(change, rows, options.policy, now_ms)
    if holder is not None:
        # In one go with what `put_changed_versions` may count.
        tx.lock(
            Locks(counters=tuple(sorted({counter_of(key), *map(weight_counter, (*before.values(), *rows))})))
        )
        count_holder_change(tx, key)
    tx.put(
        [
            HolderRow(
                key,
                told,
                submission.submission_digest,
                request.weight,
                now_ms,
                next_history(holder, request.submission_digest, request.at_ms, request.position),
            )
        ]
    )
    if isinstance(change, ChangeWeight):
        return Versioned(put_changed_versions(tx, request.key, tuple(before.values()), tuple(rows), now_ms))
    tx.put(rows)
    after = {**before, **{row.key: row for row in rows}}
    return Versioned(sentinels=tuple(row for _, row in sorted(after.items())))


def _told(change: VersionChange) -> SentinelKey:
    match change:
        case NewSentinel(key=key) | Reinstate(key=key):
            return key
        case Resend(sentinel=row) | AddHolder(sentinel=row) | ChangeWeight(sentinel=row):
            return row.key


def _identified(
    row: SentinelRow, before: SentinelRow | None, submission: Submission, step: VersionStep
) -> SentinelRow:
    """A pending row keeps what its former life had: the id that clients saw, its counted weights."""
    if row.state is not SentinelState.PENDING:
        return row
    old_id = before.sentinel_id if before is not None else ""
    return replace(
        row,
        sentinel_id=old_id or f"{submission.strategy_id}-sentinel",
        weight_revision=before.weight_revision if before is not None else 0,
        introduced=tuple(sorted({*row.introduced, *step.introduced})),
        waits=step.waits,
    )


def _seen(change: AddHolder, rows: list[SentinelRow], policy: Policy, now_ms: int) -> list[SentinelRow]:
    """`last_seen` is written at most once a day (docs/semantics.md 6)."""
    current = rows[0] if rows else change.sentinel
    # Among pending rows `last_seen` is the order of claims.
    pending = current.state is SentinelState.PENDING
    if pending or now_ms - current.last_seen_ms < policy.last_seen_every_ms:
        return rows
    return [replace(current, last_seen_ms=now_ms)]


def content_row(submission: Submission) -> ContentRow:
    """In DAG order: pairing with a later version looks at positions (docs/semantics.md 3)."""
    nodes = submission.dag.nodes
    members = [Member(node.node_id, node.schema_hash, node.tags, node.name) for node in nodes]
    outside = tuple(sorted(submission.dag.external))
    return ContentRow(submission.dag.content_digest, tuple(members), outside)
