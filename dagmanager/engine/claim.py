"""Step 1 of the effects: one transaction that decides and records everything (design, Order of effects).

After it, whatever happens is recorded: what is claimed and not active is finished by the replay, by
the next submitter, or by the poll once its lease is over. The transaction returns the winning rows.
"""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Notice, Submission
from dagmanager.engine.activate import activate_claimed
from dagmanager.engine.classify import bindings, classify
from dagmanager.engine.claim_rows import ClaimOptions, NodeWrites, node_writes
from dagmanager.engine.lease import take_locked
from dagmanager.engine.outcome import Outcome, decode, encode
from dagmanager.engine.plan import Plan, Reason
from dagmanager.engine.ports import Known, Locks, LookupKeys, Transaction
from dagmanager.engine.references import content_bindings, taken_up
from dagmanager.engine.report import outcome_of
from dagmanager.engine.rows import (
    GONE,
    Binding,
    ContentRow,
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    Member,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    SentinelKey,
    SentinelRow,
    SentinelState,
    Takeover,
)
from dagmanager.engine.versions import (
    AddHolder,
    ChangeWeight,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
    VersionRequest,
    next_version,
)
from dagmanager.errors import ErrorCode, Rejection

DAY_MS = 86_400_000


class Claimed(msgspec.Struct, frozen=True):
    """What the transaction decided. `provision` are our queues to create, `await_` rivals' to wait for.

    `replayed` when the answer was stored before.
    """

    outcome: Outcome
    provision: tuple[QueueRow, ...] = ()
    await_: tuple[str, ...] = ()
    activated: bool = False
    replayed: bool = False


def claim_id(submission: Submission) -> str:
    """Submission id and world: one outcome per world (decisions 1)."""
    return f"{submission.submission_id}|{submission.context.world_id}"


def keys_of(submission: Submission) -> LookupKeys:
    """Everything that deciding this submission reads."""
    context = submission.context
    lineage = LineageKey(submission.hashed.dag.lineage, context.namespace)
    outside = [Binding(node_id, context.namespace) for node_id in submission.hashed.dag.external]
    return LookupKeys(
        bindings=frozenset(bindings(submission)).union(outside),
        lineages=frozenset() if context.safe_mode else frozenset({lineage}),
        holders=frozenset() if context.safe_mode else frozenset({holder_key(submission)}),
        outcomes=frozenset({claim_id(submission)}),
    )


def holder_key(submission: Submission) -> HolderKey:
    """Who asks, in which namespace."""
    return HolderKey(submission.strategy_id, submission.context.namespace)


def version_change(submission: Submission, known: Known) -> VersionChange | Rejection | None:
    """What this submission does to its lineage; None in safe mode (no sentinel there)."""
    if submission.context.safe_mode:
        return None
    dag = submission.hashed.dag
    key = LineageKey(dag.lineage, submission.context.namespace)
    request = VersionRequest(
        key=key,
        version=dag.version,
        content=submission.hashed.content_digest,
        weight=dag.weight,
        strategy_id=submission.strategy_id,
        submission_digest=submission.submission_digest,
        at_ms=submission.at_ms,
    )
    return next_version(
        known.sentinels.get(key, ()),
        known.lineages.get(key),
        known.holders.get(holder_key(submission)),
        request,
    )


def claim(
    tx: Transaction, submission: Submission, touched: frozenset[Binding], options: ClaimOptions
) -> Claimed | Rejection | frozenset[Binding]:
    """Decide and record. `touched` are the bindings that the caller expects to change.

    Answers the bindings to lock instead when more of them turn out to change: the caller runs the
    transaction again with those. Locks: lineage, contents, bindings, names, tag sets, epoch.
    """
    context = submission.context
    digest = submission.hashed.content_digest
    if not context.safe_mode:
        lineage = LineageKey(submission.hashed.dag.lineage, context.namespace)
        tx.lock(Locks(lineages=(lineage,), contents=(digest,)))
    keys = keys_of(submission)
    early = tx.known(msgspec.structs.replace(keys, bindings=frozenset()))
    change = version_change(submission, early)
    losers = content_bindings(tx, _superseded_contents(change, early, submission), context.namespace)
    tx.lock(Locks(bindings=tuple(sorted(touched.union(losers)))))
    known = tx.known(keys)
    stored = known.outcomes.get(claim_id(submission))
    if stored is not None and stored.body:
        return replay(tx, submission, stored, known, options)
    if isinstance(change, Rejection):
        return change
    plan = classify(submission, known, options.policy, claim_id(submission))
    if isinstance(plan, Rejection):
        return plan
    more = frozenset(changing(plan, known)) - touched
    if more:
        return touched | more
    return _record(tx, submission, known, plan, change, options)


def changing(plan: Plan, known: Known) -> list[Binding]:
    """The bindings whose node or queue row this plan writes."""
    changed = [] if plan.plain else [
        action.binding for action in plan.actions if action.reason != Reason.SAME_SPEC.value
        or getattr(action, "schema", "none") != "none"
    ]
    changed.extend(b for b, row in known.queues.items() if row.unreferenced_ms is not None)
    return changed


def _record(
    tx: Transaction,
    submission: Submission,
    known: Known,
    plan: Plan,
    change: VersionChange | None,
    options: ClaimOptions,
) -> Claimed | Rejection:
    writes = node_writes(tx, submission, known, plan, claim_id(submission), options)
    rows: list[Row] = list(writes.rows)
    if change is not None and not isinstance(change, Resend):
        rows.extend(_version_rows(submission, known, change, writes, options))
        if not isinstance(change, AddHolder):
            rows.extend(_unless_written(taken_up(known, keys_of(submission).bindings), rows))
    outcome = outcome_of(submission, plan, writes.topics, known, _warnings(change))
    rows.extend(_outcome_rows(submission, known, plan, change, outcome))
    tx.put(rows)
    if writes.raises_epoch:
        tx.raise_epoch()
    claimed = Claimed(outcome, writes.provision, writes.await_)
    if writes.provision:
        return claimed
    activate_claimed(tx, *tx.claims(claim_id(submission)), {})
    return msgspec.structs.replace(claimed, activated=True)


def _unless_written(found: list[QueueRow], rows: list[Row]) -> list[QueueRow]:
    written = {row.topic for row in rows if isinstance(row, QueueRow)}
    return [row for row in found if row.topic not in written]


def _superseded_contents(
    change: VersionChange | Rejection | None, known: Known, submission: Submission
) -> list[str]:
    """Contents that may lose their last reference once this change is activated."""
    if not isinstance(change, NewSentinel | Reinstate | ChangeWeight):
        return []
    key = LineageKey(submission.hashed.dag.lineage, submission.context.namespace)
    gone = set(change.takeover.supersedes)
    return [row.content for row in known.sentinels.get(key, ()) if row.key in gone]


def _warnings(change: VersionChange | None) -> tuple[Notice, ...]:
    return () if change is None else change.warnings


def _version_rows(
    submission: Submission,
    known: Known,
    change: VersionChange,
    writes: NodeWrites,
    options: ClaimOptions,
) -> list[Row]:
    """Lineage, content, sentinel and holder rows of one version change."""
    now_ms = known.now_ms
    dag = submission.hashed.dag
    key = LineageKey(dag.lineage, submission.context.namespace)
    before = known.lineages.get(key)
    rows: list[Row] = [LineageRow(key, max(submission.at_ms, before.last_at_ms if before else 0))]
    sentinel = _sentinel_key(change)
    current = {row.key: row for row in known.sentinels.get(key, ())}.get(sentinel)
    match change:
        case NewSentinel(takeover=takeover):
            rows.append(_content_row(submission))
            current = SentinelRow(
                key=sentinel,
                content=submission.hashed.content_digest,
                state=SentinelState.PENDING,
                weight=0.0,
                commit_hash=dag.commit_hash or submission.hashed.content_digest,
                created_ms=now_ms,
                world_id=submission.context.world_id,
                execution_domain=submission.context.execution_domain,
                introduced=writes.introduced,
                sentinel_id=f"{submission.strategy_id}-sentinel",
            )
            rows.append(_pending(current, takeover, submission, now_ms, options))
        case Reinstate(takeover=takeover) | ChangeWeight(takeover=takeover):
            assert current is not None
            rows.append(_pending(current, takeover, submission, now_ms, options))
        case AddHolder() if current is not None and now_ms - current.last_seen_ms >= DAY_MS:
            rows.append(msgspec.structs.replace(current, last_seen_ms=now_ms))
        case _:
            pass
    rows.append(
        HolderRow(holder_key(submission), sentinel, submission.submission_digest, dag.weight, now_ms)
    )
    return rows


def _pending(
    row: SentinelRow, takeover: Takeover, submission: Submission, now_ms: int, options: ClaimOptions
) -> SentinelRow:
    weight = submission.hashed.dag.weight
    return msgspec.structs.replace(
        row,
        state=SentinelState.PENDING,
        takeover=takeover,
        weight_asked=row.weight_asked if weight is None else weight,
        claim_id=claim_id(submission),
        owner=options.owner,
        lease_until_ms=now_ms + options.policy.lease_ms,
        last_seen_ms=now_ms,
    )


def _sentinel_key(change: VersionChange) -> SentinelKey:
    match change:
        case NewSentinel(key=key) | Reinstate(key=key):
            return key
        case _:
            return change.sentinel.key


def _content_row(submission: Submission) -> ContentRow:
    members = sorted(
        Member(node.node_id, node.schema_hash, node.tags, node.name) for node in submission.hashed.dag.nodes
    )
    return ContentRow(submission.hashed.content_digest, tuple(members))


def _outcome_rows(
    submission: Submission, known: Known, plan: Plan, change: VersionChange | None, outcome: Outcome
) -> list[Row]:
    """Only what is not all `same_spec` is stored; a mark when a replay could not tell any more.

    A plain answer is decided anew on replay. When it replaced what this strategy id held, or changed
    the version, the holder no longer proves that it was accepted: the empty body does.
    """
    held = known.holders.get(holder_key(submission))
    if not plan.plain and any(action.reason != Reason.SAME_SPEC.value for action in plan.actions):
        topics = tuple(sorted({topic for _, topic in outcome.items}))
        return [OutcomeRow(claim_id(submission), encode(outcome), topics, known.now_ms)]
    if change is None or isinstance(change, Resend) or (isinstance(change, AddHolder) and held is None):
        return []
    return [OutcomeRow(claim_id(submission), b"", (), known.now_ms)]


def replay(
    tx: Transaction, submission: Submission, stored: OutcomeRow, known: Known, options: ClaimOptions
) -> Claimed | Rejection:
    """Answer from the stored outcome and finish what was claimed; `expired` when its queues went."""
    answer = decode(stored.body)
    if isinstance(answer, Rejection):
        return answer
    gone = [topic for topic in stored.topics if _is_gone(known.outcome_queues.get(topic))]
    if gone:
        return expired(gone[0])
    queues, sentinels = tx.claims(claim_id(submission))
    mine, ours = take_locked(
        tx, queues, sentinels, options.owner, options.policy.lease_ms, only_overdue=False
    )
    rivals = (row for row in known.outcome_queues.values() if row.state is QueueState.PROVISIONING)
    joined = sorted({row.topic for row in rivals} - {row.topic for row in mine})
    if ours and not mine:
        activate_claimed(tx, mine, ours, {})
    return Claimed(answer, mine, tuple(joined), activated=not mine, replayed=True)


def _is_gone(row: QueueRow | None) -> bool:
    return row is None or row.state in GONE


def expired(topic: str) -> Rejection:
    """A replay whose queues were collected meanwhile (decisions 1)."""
    return Rejection(
        ErrorCode.EXPIRED,
        f"this submission was answered before and its topic {topic} was collected since; submit it anew",
        got=topic,
    )
