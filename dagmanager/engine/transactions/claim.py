"""Step 1 of the effects: one transaction that decides a submission and records everything (ARCHITECTURE.md, Order of
effects).

What is claimed here and not active yet is finished by this process, by a replay, by the next submission that joins one
of its queues, or by the poll after the lease has ended.

The transaction must lock nodes before it reads them, but which nodes it will write is known only after reading. So it
starts with the nodes that it expects to write. When it has to write more, it answers with the larger set instead of a
result, before it has put anything, and runs again. The set only grows, so this ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.reusable_nodes import ReusableNodes, ReusableRows, with_cached
from dagmanager.engine.decide.build_outcome import build_outcome, merge_redecided
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.node_attributes import renamed_notice
from dagmanager.engine.decide.predecessor import predecessor
from dagmanager.engine.decide.submission_keys import (
    claim_id,
    lineage_key,
    lookup_keys,
    version_change,
    version_request,
)
from dagmanager.engine.model.graph_port import Graph, Known, Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import Outcome, encode
from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, Plan, Reason, ReuseNode, SchemaEffect
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import Binding, OutcomeRow, QueueRow, Row
from dagmanager.engine.model.version_change import (
    AddHolder,
    ChangeWeight,
    NewSentinel,
    Reinstate,
    Resend,
    VersionChange,
)
from dagmanager.engine.model.version_rows import SentinelState
from dagmanager.engine.transactions.activate import activate_claimed
from dagmanager.engine.transactions.claim_node_rows import NodeWrites, node_writes
from dagmanager.engine.transactions.claim_versions import (
    VersionStep,
    VersionWrites,
    content_row,
    put_version_change,
)
from dagmanager.engine.transactions.decision import Claimed, Decision
from dagmanager.engine.transactions.references import mark_referenced, names_in, nodes_to_lock
from dagmanager.engine.transactions.replay import (
    answer_accepted,
    answer_replay,
    answer_resend,
    expire_unpublished,
    failed_queues,
    nodes_of_open_claim,
)
from dagmanager.errors import ErrorCode, Rejection, StoreMemoryError


def claim_in(
    graph: Graph, submission: Submission, options: ClaimOptions, nodes: ReusableNodes | None = None
) -> Claimed | Rejection:
    """Claim one submission, in as many transactions as it takes to find the nodes to lock (two as a rule).

    `nodes` are cached rows that need not be read again. Refused with `too_large` when the store has no memory for it: the
    submissions behind it must not wait for it for ever. Blocks; raises as `Graph.transact`. Idempotent: a repeat is a
    replay of the same submission.
    """
    try:
        return _claim_in(graph, submission, options, nodes or ReusableNodes())
    except StoreMemoryError as error:
        count = len(submission.dag.nodes)
        why = Rejection(
            ErrorCode.TOO_LARGE,
            f"the graph has no memory for one transaction of {count} nodes; send a smaller DAG, or give the server more"
            f" memory: {error}",
            field="/nodes",
            got=str(count),
        )
        return graph.transact(partial(_refuse_whole, submission=submission, why=why))


def _refuse_whole(tx: Transaction, submission: Submission, why: Rejection) -> Rejection:
    # A new transaction, with its own look at the outcome: what failed for want of memory has left nothing.
    known = tx.known(LookupKeys(outcomes=frozenset({claim_id(submission)})))
    return _refuse(tx, submission, known, why)


def _claim_in(
    graph: Graph, submission: Submission, options: ClaimOptions, nodes: ReusableNodes
) -> Claimed | Rejection:
    touched: frozenset[str] = frozenset()
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
    """Decide and record. `touched` are the nodes that the caller expects to be written.

    Answers a larger set of nodes when more are: the caller runs the transaction again with it.
    """
    # In safe mode there is no version, and the lineage's lock would only make other submissions wait.
    if not submission.context.safe_mode:
        tx.lock(Locks(lineages=(lineage_key(submission),)))
    wanted = bindings(submission)
    keys = lookup_keys(submission, wanted)
    # Without the bindings: nodes must be locked before they are read, and which ones depends on the lineage.
    early = tx.known(msgspec.structs.replace(keys, bindings=frozenset()))
    change = version_change(submission, early)
    if isinstance(change, NewSentinel | Reinstate | ChangeWeight):
        sentinels = early.sentinels.get(lineage_key(submission), ())
        returning = [
            msgspec.structs.replace(row, state=SentinelState.PENDING) if row.key in change.returning else row
            for row in sentinels
        ]
        touched |= nodes_to_lock(tx, returning, content_row(submission))
    tx.lock(Locks(nodes=tuple(sorted(touched))))
    cached = nodes.get(_protected_bindings(keys, touched, change, early), early.epoch)
    known = _read_under_locks(tx, keys, early, cached)
    stored = known.outcomes.get(claim_id(submission))
    if stored is not None and not stored.body:
        # Accepted with a plain answer: a replay of it is a question by now, even if its version was superseded.
        return answer_accepted(submission, known, options, wanted)
    if stored is not None and not failed_queues(stored, known):
        more = nodes_of_open_claim(tx, submission) - touched
        return touched | more if more else answer_replay(tx, submission, stored, known, options)
    # From here on: never decided, or decided before with a queue that failed before the answer was published.
    if isinstance(change, Rejection):
        return _refuse(tx, submission, known, change)
    plan = classify(submission, known, options.policy, claim_id(submission), wanted)
    if isinstance(plan, Rejection):
        return _refuse(tx, submission, known, plan)
    if isinstance(change, Resend) and _changes_nothing(plan, change, stored):
        if stored is None:
            return answer_resend(submission, known, plan, change.warnings)
        return expire_unpublished(tx, stored, known)
    written = frozenset(_written_nodes(plan, known))
    if stored is not None:  # the version may be activated at the end of this
        written |= nodes_of_open_claim(tx, submission)
    more = written - touched
    if more:
        return touched | more
    if isinstance(change, NewSentinel | Reinstate):
        plan = _with_renamed(tx, submission, known, plan, touched)
    claimed = _record(tx, Decision(submission, known, plan, claim_id(submission), options), change)
    lineages = () if submission.context.safe_mode else (lineage_key(submission),)
    return msgspec.structs.replace(claimed, locks=Locks(lineages=lineages, nodes=tuple(sorted(touched))))


def _with_renamed(
    tx: Transaction, submission: Submission, known: Known, plan: Plan, touched: frozenset[str]
) -> Plan:
    """The plan with a warning for nodes that another version calls otherwise.

    Only locked nodes are asked, so that no cached row decides: a node that the lineage keeps under its name is not locked.
    """
    nodes = [node for node in submission.dag.nodes if node.node_id in touched]
    before = predecessor(submission, known)
    names = names_in(tx.contents([before.content]).values()) if before is not None else {}
    renamed = renamed_notice(nodes, known.nodes, names)
    return msgspec.structs.replace(plan, warnings=(*plan.warnings, *renamed)) if renamed else plan


def _refuse(tx: Transaction, submission: Submission, known: Known, why: Rejection) -> Rejection:
    """Store a refusal: the graph that caused it may have changed when the record is read again, and a replay must get
    the same answer."""
    each = claim_id(submission)
    if each not in known.outcomes:
        tx.put([OutcomeRow(each, encode(why), (), known.now_ms)])
    return why


def _protected_bindings(
    keys: LookupKeys, touched: frozenset[str], change: VersionChange | Rejection | None, early: Known
) -> Iterable[Binding]:
    """The bindings that may come from the cache although their nodes are not locked.

    The lineage references them before and after this claim, and its lock is held: nothing can collect them meanwhile.
    """
    if early.outcomes or change is None or isinstance(change, Rejection):
        return ()
    if isinstance(change, Resend) and not change.referencing:
        return ()
    return (each for each in keys.bindings if each.node_id not in touched)


def _read_under_locks(
    tx: Transaction, keys: LookupKeys, early: Known, cached: Mapping[Binding, ReusableRows]
) -> Known:
    """Everything, read now, but for the cached rows; these are valid at the epoch of the `early` reading only."""
    known = tx.known(msgspec.structs.replace(keys, bindings=keys.bindings.difference(cached)))
    if cached and known.epoch != early.epoch:
        return tx.known(keys)
    return with_cached(known, cached)


def _changes_nothing(plan: Plan, change: Resend, stored: OutcomeRow | None) -> bool:
    """Whether a resend is a question only (docs/semantics.md 2).

    If its version is in force and a queue is missing, the queue is created again; artifacts and `global` flags, which no
    digest covers, are merged. An answer that is decided again must record its other queue.
    """
    if any(isinstance(action, CreateNode) or _merges(action) for action in plan.actions):
        return not change.referencing
    return stored is None


def _merges(action: Action) -> bool:
    return isinstance(action, ReuseNode | BufferNode) and action.merges


def _written_nodes(plan: Plan, known: Known) -> list[str]:
    """The nodes of which this plan writes the node's row or a queue's."""
    written = [binding.node_id for binding, row in known.queues.items() if row.unreferenced_ms is not None]
    if not plan.plain:
        for action in plan.actions:
            match action:
                case ReuseNode(schema=SchemaEffect.NONE, merges=False):
                    pass
                case _:
                    written.append(action.node.node_id)
    return written


def _record(tx: Transaction, decision: Decision, change: VersionChange | None) -> Claimed:
    """Put everything that was decided; activate at once when there is nothing to provision."""
    submission, known, plan = decision.submission, decision.known, decision.plan
    each = decision.claim_id
    writes = node_writes(tx, decision)
    rows: list[Row] = list(writes.rows)
    # A question and a new holder add no reference; every other change does, so the marks must go before anything
    # could collect these queues.
    if change is not None and not isinstance(change, AddHolder | Resend):
        rows.extend(_not_among(rows, mark_referenced(known.queues.values())))
    tx.put(rows)
    versions = _put_versions(tx, decision, change, writes)
    outcome = build_outcome(submission, plan, writes.topics, known, change.warnings if change else ())
    stored = known.outcomes.get(each)
    if stored is not None:
        outcome = merge_redecided(stored, outcome, plan, failed_queues(stored, known))
    # In the transaction of the claim: an outcome without its claim would promise topics that no process creates, and a
    # claim without its outcome would be decided again by the replay.
    tx.put(_outcome_rows(decision, change, outcome))
    if stored is not None:
        # The version still waits for the queue that failed: let it wait for the one that was decided now.
        pending = tx.open_claim(each).sentinels
        tx.put([msgspec.structs.replace(row, waits=writes.joined) for row in pending])
    if not writes.provision:
        _activate(tx, decision, versions)
    # Last, as in the lock order: every other write of the epoch waits until this transaction is committed.
    if writes.raises_epoch:
        tx.raise_epoch()
    return Claimed(outcome, writes.provision, writes.joined, activated=not writes.provision)


def _put_versions(
    tx: Transaction, decision: Decision, change: VersionChange | None, writes: NodeWrites
) -> VersionWrites:
    if change is None or isinstance(change, Resend):
        return VersionWrites()
    step = VersionStep(
        version_request(decision.submission, decision.known.now_ms), change, writes.introduced, writes.joined
    )
    return put_version_change(tx, decision, step)


def _activate(tx: Transaction, decision: Decision, versions: VersionWrites) -> None:
    """Activate the claim in its own transaction, since it has nothing to provision."""
    each, deltas = decision.claim_id, versions.deltas
    if each in decision.known.outcomes:
        # Decided again: an earlier attempt may have left queues and sentinels, too.
        claim = tx.open_claim(each)
        activate_claimed(tx, claim.queues, claim.sentinels, {}, deltas, claim.versions)
        return
    pending = [row for row in versions.sentinels if row.claim_id == each]
    activate_claimed(tx, (), pending, {}, deltas, {lineage_key(decision.submission): versions.sentinels})


def _not_among(rows: list[Row], queues: list[QueueRow]) -> list[QueueRow]:
    """The queues of which `rows` has no newer row."""
    written = {row.topic for row in rows if isinstance(row, QueueRow)}
    return [row for row in queues if row.topic not in written]


def _outcome_rows(decision: Decision, change: VersionChange | None, outcome: Outcome) -> list[Row]:
    """The outcome, if a replay could not decide it again: any action but `same_spec`, or a warning of the change.

    A plain answer is decided again, so an empty body is enough. It says that the submission was accepted: after the
    holder or the lineage has changed, nothing else would tell a replay from an older or a new submission. Most
    submissions are of this kind, and an answer of a thousand nodes takes some 200 kB.
    """
    each, known = decision.claim_id, decision.known
    stored = known.outcomes.get(each)
    must_store = stored is not None or decision.plan.warnings or (change is not None and change.warnings)
    if must_store or any(action.reason != Reason.SAME_SPEC.value for action in decision.plan.actions):
        created_ms = known.now_ms if stored is None else stored.created_ms
        return [OutcomeRow(each, encode(outcome), outcome.topics, created_ms)]
    if change is None or isinstance(change, Resend):
        return []
    return [OutcomeRow(each, b"", (), known.now_ms)]
