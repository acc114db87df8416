"""Answers to submissions that were decided before: replays after a crash, and resends (docs/semantics.md 2).

A stored answer is final once it may have been published. It may not have been published as long as one of its queues
is provisioning; so when such a queue fails, the answer is decided again instead of being repeated (`failed_queues`).
"""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Notice, Submission
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import classify
from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.model.graph_port import Known, Transaction
from dagmanager.engine.model.outcome import decode, encode
from dagmanager.engine.model.plan import CreateNode, Plan
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import GONE, Binding, OutcomeRow, QueueRow, QueueState
from dagmanager.engine.transactions.activate import activate_claimed
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.engine.transactions.lease import take_over_locked
from dagmanager.engine.transactions.references import nodes_to_lock
from dagmanager.errors import ErrorCode, Rejection


def failed_queues(stored: OutcomeRow, known: Known) -> frozenset[str]:
    """The topics of a stored answer that failed, so that the answer was never published."""
    rows = known.outcome_queues
    return frozenset(
        topic for topic in stored.topics if topic in rows and rows[topic].state is QueueState.FAILED
    )


def nodes_of_open_claim(tx: Transaction, submission: Submission) -> frozenset[str]:
    """The nodes that finishing an earlier attempt of this claim writes to."""
    claim = tx.open_claim(claim_id(submission))
    nodes = frozenset().union(*(nodes_to_lock(tx, rows) for rows in claim.versions.values()))
    return nodes.union(row.binding.node_id for row in claim.queues)


def answer_replay(
    tx: Transaction, submission: Submission, stored: OutcomeRow, known: Known, options: ClaimOptions
) -> Claimed | Rejection:
    """The stored answer; what is unfinished of its claim is taken over, whatever its lease says.

    Refused with `expired` when a queue of the answer was collected or lost. The nodes of the open claim are locked.
    """
    answer = decode(stored.body)
    # Whatever has become of its reason: clients may have seen the refusal.
    if isinstance(answer, Rejection):
        return answer
    gone = [topic for topic in stored.topics if _is_gone(known.outcome_queues.get(topic))]
    if gone:
        return _expired(gone[0])
    claim = tx.open_claim(claim_id(submission))
    # Without regard to the lease: this process reads the record now, so its former reader has ended, or has lost the
    # partition and will fail `must_own` in its next step.
    queues, sentinels = take_over_locked(
        tx, claim, options.owner, options.policy.lease_ms, only_overdue=False
    )
    provisioning = {
        topic for topic in stored.topics if known.outcome_queues[topic].state is QueueState.PROVISIONING
    }
    if sentinels and not queues:
        # The process died between the activation of the queues and that of the version.
        activate_claimed(tx, queues, sentinels, {}, {})
    joined = tuple(sorted(provisioning - {row.topic for row in queues}))
    return Claimed(answer, queues, joined, activated=not queues, replayed=True)


def answer_resend(
    submission: Submission, known: Known, plan: Plan, warnings: tuple[Notice, ...] = ()
) -> Claimed | Rejection:
    """The answer to an identical resend, which changes nothing; `expired` when one of its queues is gone."""
    missing = next((action for action in plan.actions if isinstance(action, CreateNode)), None)
    if missing is not None:
        return _expired(missing.predecessor.topic if missing.predecessor else missing.node.node_id)
    # A rival may still be creating a queue that the first answer named: this answer waits for it, too.
    joined = {
        queue.topic
        for action in plan.actions
        if (queue := known.queues.get(action.binding)) is not None and queue.state is QueueState.PROVISIONING
    }
    outcome = build_outcome(submission, plan, {}, known, warnings)
    return Claimed(outcome, joined=tuple(sorted(joined)), activated=True)


def answer_accepted(
    submission: Submission, known: Known, options: ClaimOptions, wanted: tuple[Binding, ...]
) -> Claimed | Rejection:
    """The answer to a replay of which only the mark "accepted" is stored: decided again, changing nothing."""
    plan = classify(submission, known, options.policy, claim_id(submission), wanted)
    return plan if isinstance(plan, Rejection) else answer_resend(submission, known, plan)


def expire_unpublished(tx: Transaction, stored: OutcomeRow, known: Known) -> Rejection:
    """Store `expired` as the final answer: a queue failed before the answer was published, and the version was
    superseded since. Stored, so that every replay gets the same, whatever becomes of the queue's name."""
    topic = min(failed_queues(stored, known))
    why = Rejection(
        ErrorCode.EXPIRED,
        f"its queue {topic} never came up, and another version took the place of this one; submit it again",
        got=topic,
    )
    tx.put([msgspec.structs.replace(stored, body=encode(why), topics=())])
    return why


def _is_gone(row: QueueRow | None) -> bool:
    return row is None or row.state in GONE


def _expired(topic: str) -> Rejection:
    return Rejection(
        ErrorCode.EXPIRED,
        f"this submission was answered before and its queue {topic} is gone since; submit it again",
        got=topic,
    )
