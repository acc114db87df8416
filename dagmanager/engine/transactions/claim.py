"""Step 1 of the effects: one transaction that decides and records everything (ARCHITECTURE.md, Order of effects).

After it, whatever happens is recorded: what is claimed and not active is finished by the replay, by
the next submitter, or by the poll once its lease is over. The transaction returns the winning rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.reusable_nodes import ReusableNodes, ReusableRows, with_cached
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.submission_keys import (
    claim_id,
    lineage_key,
    lookup_keys,
    version_change,
    version_request,
)
from dagmanager.engine.model.graph_port import Graph, Known, Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import Outcome, decode, encode
from dagmanager.engine.model.plan import CreateNode, Plan, Reason, ReuseNode, SchemaEffect
from dagmanager.engine.model.rows import (
    GONE,
    Binding,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
)
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
)
from dagmanager.engine.transactions.activate import NOTHING, activate_claimed
from dagmanager.engine.transactions.claim_node_rows import ClaimOptions, Decision, NodeWrites, node_writes
from dagmanager.engine.transactions.claim_repair import merge_redecided
from dagmanager.engine.transactions.claim_versions import (
    Versioned,
    VersionStep,
    content_row,
    put_version_change,
)
from dagmanager.engine.transactions.lease import take_over_locked
from dagmanager.engine.transactions.references import mark_referenced, nodes_to_lock
from dagmanager.errors import ErrorCode, Rejection


class Claimed(msgspec.Struct, frozen=True):
    """What the transaction decided. `provision` are our queues to create, `joined` rivals' to wait for.

    `activated`: nothing had to be provisioned, all is done. `replayed`: the answer was stored before.
    `locks`: what activation will have to lock, as far as is known here.
    """

    outcome: Outcome
    provision: tuple[QueueRow, ...] = ()
    joined: tuple[str, ...] = ()
    activated: bool = False
    replayed: bool = False
    locks: Locks = NOTHING


def claim_in(
    graph: Graph, submission: Submission, options: ClaimOptions, nodes: ReusableNodes | None = None
) -> Claimed | Rejection:
    """Run the claim until the nodes it must lock are the ones it locked; `nodes` need not be read again."""
    touched: frozenset[str] = frozenset()
    nodes = nodes or ReusableNodes()
    while True:
        work = partial(claim, submission=submission, touched=touched, options=options, nodes=nodes)
        result = graph.transact(work)
        if not isinstance(result, frozenset):
            return result
        touched = result


def claim(
    tx: Transaction,
    submission: Submission,
    touched: frozenset[str],
    options: ClaimOptions,
    nodes: ReusableNodes,
) -> Claimed | Rejection | frozenset[str]:
    """Decide and record. `touched` are the nodes that the caller expects to change.

    Answers the nodes to lock instead when more of them turn out to change: the caller runs the
    transaction again with those.

    A stored answer is the answer, unless a queue that it names failed (was refused, or got another
    name) before it ever came to life: then nobody was told, and that queue is decided again.
    """
    context = submission.context
    if not context.safe_mode:
        tx.lock(Locks(lineages=(lineage_key(submission),)))
    wanted = bindings(submission)
    keys = lookup_keys(submission, wanted)
    early = tx.known(msgspec.structs.replace(keys, bindings=frozenset()))
    change = version_change(submission, early)
    if isinstance(change, NewSentinel | Reinstate | ChangeWeight):
        sentinels = early.sentinels.get(lineage_key(submission), ())
        touched |= nodes_to_lock(tx, sentinels, content_row(submission))
    tx.lock(Locks(nodes=tuple(sorted(touched))))
    known = _known(tx, keys, early, nodes.get(_standing(keys, touched, change, early), early.epoch))
    stored = known.outcomes.get(claim_id(submission))
    if stored is not None and not stored.body:
        # This very submission was accepted before, plainly: now it is a question.
        return _question(submission, known, options, wanted)
    if stored is not None and not _failed_untold(stored, known):
        more = _replayed_nodes(tx, submission) - touched
        return touched | more if more else _replay(tx, submission, stored, known, options)
    if isinstance(change, Rejection):
        return _refused(tx, submission, known, change)
    plan = classify(submission, known, options.policy, claim_id(submission), wanted)
    if isinstance(plan, Rejection):
        return _refused(tx, submission, known, plan)
    if isinstance(change, Resend) and _is_question(plan, change, stored):
        return _asked(submission, known, plan, change) if stored is None else _never_up(tx, stored, known)
    changing = frozenset(_changing(plan, known))
    if stored is not None:  # decided again: its version may be in force at the end of this
        changing |= _replayed_nodes(tx, submission)
    more = changing - touched
    if more:
        return touched | more
    claimed = _record(tx, Decision(submission, known, plan, claim_id(submission), options), change)
    lineages = () if context.safe_mode else (lineage_key(submission),)
    return msgspec.structs.replace(claimed, locks=Locks(lineages=lineages, nodes=tuple(sorted(touched))))


def _refused(tx: Transaction, submission: Submission, known: Known, why: Rejection) -> Rejection:
    """Decided by the state of the graph, which may be another when the record is read again: a replay hears the same."""
    each = claim_id(submission)
    if each not in known.outcomes:
        tx.put([OutcomeRow(each, encode(why), (), known.now_ms)])
    return why


def _never_up(tx: Transaction, stored: OutcomeRow, known: Known) -> Rejection:
    """Queues that its answer names failed before anybody was told, and its version is no more in force: for good,
    whatever becomes of those queues, so that a replay hears the same."""
    topic = min(_failed_untold(stored, known))
    why = Rejection(
        ErrorCode.EXPIRED,
        f"its queue {topic} never came up, and another version took the place of this one; submit it anew",
        got=topic,
    )
    tx.put([msgspec.structs.replace(stored, body=encode(why), topics=())])
    return why


def _standing(
    keys: LookupKeys, touched: frozenset[str], change: VersionChange | Rejection | None, early: Known
) -> Iterable[Binding]:
    """The bindings that the lineage references before and after, so that they stay while it is locked."""
    if early.outcomes or change is None or isinstance(change, Rejection):
        return ()
    if isinstance(change, Resend) and not change.referencing:
        return ()
    return (each for each in keys.bindings if each.node_id not in touched)


def _known(tx: Transaction, keys: LookupKeys, early: Known, kept: Mapping[Binding, ReusableRows]) -> Known:
    """All of it read now, but for the rows that are `kept`, of the epoch of the `early` reading."""
    known = tx.known(msgspec.structs.replace(keys, bindings=keys.bindings.difference(kept)))
    if kept and known.epoch != early.epoch:
        return tx.known(keys)
    return with_cached(known, kept)


def _failed_untold(stored: OutcomeRow, known: Known) -> frozenset[str]:
    rows = known.outcome_queues
    return frozenset(t for t in stored.topics if t in rows and rows[t].state is QueueState.FAILED)


def _is_question(plan: Plan, change: Resend, stored: OutcomeRow | None) -> bool:
    """What would change nothing; what is decided again must still record its other queue."""
    creates = _creates(plan)
    return not change.referencing if creates else stored is None


def _creates(plan: Plan) -> bool:
    return any(isinstance(action, CreateNode) for action in plan.actions)


def _asked(
    submission: Submission, known: Known, plan: Plan, change: VersionChange | None
) -> Claimed | Rejection:
    """An identical resend is a question: answered, changing nothing (docs/semantics.md 2)."""
    missing = next((a for a in plan.actions if isinstance(a, CreateNode)), None)
    if missing is not None:
        gone = missing.predecessor.topic if missing.predecessor else missing.node.node_id
        return expired(gone)
    waits = {
        queue.topic
        for a in plan.actions
        if (queue := known.queues.get(a.binding)) is not None and queue.state is QueueState.PROVISIONING
    }
    outcome = build_outcome(submission, plan, {}, known, change.warnings if change else ())
    return Claimed(outcome, joined=tuple(sorted(waits)), activated=True)


def _question(
    submission: Submission, known: Known, options: ClaimOptions, wanted: tuple[Binding, ...]
) -> Claimed | Rejection:
    plan = classify(submission, known, options.policy, claim_id(submission), wanted)
    return plan if isinstance(plan, Rejection) else _asked(submission, known, plan, None)


def _changing(plan: Plan, known: Known) -> list[str]:
    """The nodes of which this plan writes a row."""
    changed = [b.node_id for b, row in known.queues.items() if row.unreferenced_ms is not None]
    if not plan.plain:
        for action in plan.actions:
            match action:
                case ReuseNode(schema=SchemaEffect.NONE):
                    pass
                case _:
                    changed.append(action.node.node_id)
    return changed


def _record(tx: Transaction, decision: Decision, change: VersionChange | None) -> Claimed:
    submission, known, plan = decision.submission, decision.known, decision.plan
    each = decision.claim_id
    writes = node_writes(tx, decision)
    rows: list[Row] = list(writes.rows)
    if change is not None and not isinstance(change, AddHolder | Resend):
        rows.extend(_unless_written(mark_referenced(known.queues.values()), rows))
    tx.put(rows)
    versioned = _versions(tx, decision, change, writes)
    outcome = build_outcome(submission, plan, writes.topics, known, change.warnings if change else ())
    stored = known.outcomes.get(each)
    if stored is not None:
        outcome = merge_redecided(stored, outcome, plan, _failed_untold(stored, known))
    tx.put(_outcome_rows(decision, change, outcome))
    if stored is not None:
        pending = tx.open_claim(each).sentinels
        tx.put([msgspec.structs.replace(row, waits=writes.joined) for row in pending])
    if not writes.provision:
        _activate(tx, decision, versioned)
    if writes.raises_epoch:
        tx.raise_epoch()
    return Claimed(outcome, writes.provision, writes.joined, activated=not writes.provision)


def _versions(
    tx: Transaction, decision: Decision, change: VersionChange | None, writes: NodeWrites
) -> Versioned:
    """Put the lineage's rows."""
    if change is None or isinstance(change, Resend):
        return Versioned()
    step = VersionStep(version_request(decision.submission), change, writes.introduced, writes.joined)
    return put_version_change(tx, decision, step)


def _activate(tx: Transaction, decision: Decision, versioned: Versioned) -> None:
    """At once, since nothing has to be provisioned. Only a claim of before may have more than was just put."""
    each, moved = decision.claim_id, versioned.moved
    if each in decision.known.outcomes:
        claim = tx.open_claim(each)
        activate_claimed(tx, claim.queues, claim.sentinels, {}, moved, claim.versions)
        return
    pending = [row for row in versioned.sentinels if row.claim_id == each]
    activate_claimed(tx, (), pending, {}, moved, {lineage_key(decision.submission): versioned.sentinels})


def _unless_written(found: list[QueueRow], rows: list[Row]) -> list[QueueRow]:
    written = {row.topic for row in rows if isinstance(row, QueueRow)}
    return [row for row in found if row.topic not in written]


def _outcome_rows(decision: Decision, change: VersionChange | None, outcome: Outcome) -> list[Row]:
    """Only what a replay could not decide anew is stored: all that is not `same_spec`, and warnings.

    A plain answer is decided anew, and the empty body says that it was accepted: once the holder or
    the lineage has moved on, nothing else would tell a replay from a late or a new submission.
    """
    each, known = decision.claim_id, decision.known
    stored = known.outcomes.get(each)
    told = stored is not None or (change is not None and change.warnings)
    if told or any(action.reason != Reason.SAME_SPEC.value for action in decision.plan.actions):
        created_ms = known.now_ms if stored is None else stored.created_ms
        return [OutcomeRow(each, encode(outcome), outcome.topics, created_ms)]
    if change is None or isinstance(change, Resend):
        return []
    return [OutcomeRow(each, b"", (), known.now_ms)]


def _replayed_nodes(tx: Transaction, submission: Submission) -> frozenset[str]:
    """The nodes that finishing what a replay left behind writes to."""
    claim = tx.open_claim(claim_id(submission))
    unsettled = frozenset().union(*(nodes_to_lock(tx, rows) for rows in claim.versions.values()))
    return unsettled.union(row.binding.node_id for row in claim.queues)


def _replay(
    tx: Transaction, submission: Submission, stored: OutcomeRow, known: Known, options: ClaimOptions
) -> Claimed | Rejection:
    """Answer from the stored outcome and finish what was claimed; `expired` when its queues went."""
    answer = decode(stored.body)
    if isinstance(answer, Rejection):
        return answer
    gone = [topic for topic in stored.topics if _is_gone(known.outcome_queues.get(topic))]
    if gone:
        return expired(gone[0])
    claim = tx.open_claim(claim_id(submission))
    mine, ours = take_over_locked(tx, claim, options.owner, options.policy.lease_ms, only_overdue=False)
    rivals = {
        topic for topic in stored.topics if known.outcome_queues[topic].state is QueueState.PROVISIONING
    }
    if ours and not mine:
        activate_claimed(tx, mine, ours, {}, {})
    joined = tuple(sorted(rivals - {row.topic for row in mine}))
    return Claimed(answer, mine, joined, activated=not mine, replayed=True)


def _is_gone(row: QueueRow | None) -> bool:
    return row is None or row.state in GONE


def expired(topic: str) -> Rejection:
    """A replay or a resend whose queues were collected, or lost by the broker, meanwhile (docs/semantics.md 2)."""
    return Rejection(
        ErrorCode.EXPIRED,
        f"this submission was answered before and its queue {topic} is gone since; submit it anew",
        got=topic,
    )
