"""Classifies each node of a submission: reuse, buffer, create or isolate (docs/semantics.md 3, F4).

The two tables of docs/semantics.md 3 are the two functions `_by_queue` and `_by_schema`.
"""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Node, Submission
from dagmanager.engine.decide.node_attributes import brings, brought_notice, drift_notice
from dagmanager.engine.decide.node_conflicts import conflict
from dagmanager.engine.decide.topic_names import safe_suffix
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.plan import (
    Action,
    BufferNode,
    CreateNode,
    IsolateNode,
    Plan,
    Reason,
    ReuseNode,
    SchemaEffect,
)
from dagmanager.engine.model.policy import Policy
from dagmanager.engine.model.rows import GONE, Binding, NodeRow, QueueRow, QueueState
from dagmanager.errors import ErrorCode, Rejection

# `.value` of a StrEnum member is a property: looked up once, not for each of a thousand nodes.
_SAME_SPEC = Reason.SAME_SPEC.value
_NEW_NODE = Reason.NEW_NODE.value
_JOINED = Reason.JOINED.value


class _Terms(msgspec.Struct, frozen=True, gc=False):
    """Which claim is this submission's own, the time to decide at, and how long a schema change makes buffer."""

    claim_id: str
    now_ms: int
    window_ms: int


def bindings(submission: Submission) -> tuple[Binding, ...]:
    """The binding of every node of this submission, in the DAG's order."""
    context = submission.context
    safe = _safe_suffix_of(submission) if context.safe_mode else ""
    namespace = context.namespace
    return tuple([Binding(node.node_id, namespace, safe) for node in submission.dag.nodes])


def classify(
    submission: Submission,
    known: Known,
    policy: Policy,
    claim_id: str,
    wanted: tuple[Binding, ...] | None = None,
) -> Plan | Rejection:
    """One action per node, in the DAG's order.

    Queues that `claim_id` is provisioning are this submission's own, of an earlier attempt; others belong to rivals.
    `wanted` are the submission's `bindings`, if the caller has them. Refused with `rate_limited` when safe mode has no
    topics left, with `unresolved_dependencies` when the policy is strict and neither DAG nor graph has one, and with
    `conflicting_node` or `node_id_mismatch` when the graph has another spec under an id (`node_conflicts`).
    """
    refusal = conflict(submission, known.nodes)
    if refusal is not None:
        return refusal
    wanted = wanted if wanted is not None else bindings(submission)
    if policy.strict_dependencies and submission.dag.external:
        refusal = _unresolved(submission, known)
        if refusal is not None:
            return refusal
    if submission.context.safe_mode:
        return _isolate(submission, known, policy, claim_id, wanted)
    # By the record's time, so that a replay decides the same; a record from the future must not end a window early.
    terms = _Terms(claim_id, min(submission.at_ms, known.now_ms), policy.schema_window_ms)
    rows, queues = known.nodes, known.queues
    actions: list[Action] = []
    brought: list[tuple[str, str]] = []
    drifted: list[QueueRow] = []
    plain = True
    for node, binding in zip(submission.dag.nodes, wanted, strict=True):
        row = rows.get(node.node_id)
        if row is None:
            plain = False
            actions.append(CreateNode(node, binding, _NEW_NODE))
            continue
        queue = queues.get(binding)
        # The common case of both tables, without two calls: it is most nodes of most submissions.
        if (
            queue is not None
            and queue.state is QueueState.ACTIVE
            and not queue.drift
            and not row.safe_only
            and node.global_ <= row.global_
            and (not node.artifacts or node.artifacts == row.artifacts)
            and row.buffering_since_ms is None
            and (not node.schema_hash or node.schema_hash == row.schema_hash)
        ):
            actions.append(ReuseNode(node, binding, _SAME_SPEC, queue.topic))
            continue
        action = _by_queue(node, binding, row, queue, terms)
        if not row.is_provisional and (new := brings(node, row)):
            brought.append((node.node_id, new))
            action = _merging(action)
        if queue is not None and queue.drift and queue.state is QueueState.ACTIVE:
            drifted.append(queue)
        plain = plain and _is_plain(action)
        actions.append(action)
    return Plan(tuple(actions), plain, (*brought_notice(brought), *drift_notice(drifted)))


def _merging(action: Action) -> Action:
    if isinstance(action, ReuseNode | BufferNode):
        return msgspec.structs.replace(action, merges=True)
    return action


def _by_queue(node: Node, binding: Binding, row: NodeRow, queue: QueueRow | None, terms: _Terms) -> Action:
    """First table: the first row that matches the queue's state."""
    # Safe mode promised nothing to others, so its row binds no client: the node is new.
    if row.safe_only:
        return CreateNode(node, binding, _NEW_NODE, known=True)
    if queue is None:
        return CreateNode(node, binding, Reason.NEW_BINDING.value, known=True)
    if queue.state in GONE:
        return CreateNode(
            node, binding, Reason.RESURRECTED.value, queue.incarnation + 1, known=True, predecessor=queue
        )
    if queue.state is QueueState.PROVISIONING:
        # A replay of the claim that began it: it still has to create the topic.
        if queue.claim_id == terms.claim_id:
            return CreateNode(
                node, binding, Reason.NEW_BINDING.value, queue.incarnation, known=True, topic=queue.topic
            )
        return _by_schema(node, row, queue, _JOINED, terms)
    return _by_schema(node, row, queue, _SAME_SPEC, terms)


def _by_schema(
    node: Node, row: NodeRow, queue: QueueRow, reuse: str, terms: _Terms
) -> ReuseNode | BufferNode:
    """Second table: the schema, on every reuse. `reuse` is the reason when there is nothing to buffer for."""
    sent = node.schema_hash
    binding, topic = queue.binding, queue.topic
    # No data with another schema exists yet, so there is nothing to read again.
    if sent and not row.schema_hash:
        return ReuseNode(node, binding, reuse, topic, SchemaEffect.ADOPT)
    # Nothing is said about the schema, and silence is no change.
    if not sent:
        return ReuseNode(node, binding, reuse, topic)
    if sent == row.schema_hash:
        since = row.buffering_since_ms
        if since is not None and terms.now_ms < since + terms.window_ms:
            return BufferNode(node, binding, Reason.STILL_BUFFERING.value, topic, node.period)
        return ReuseNode(node, binding, reuse, topic)
    # An older schema within the window is a rolling update: old and new submissions alternate, and the newer schema must
    # stay current. After the window it is a change back.
    seen = dict(row.schemas).get(sent)
    if seen is not None and terms.now_ms < seen + terms.window_ms:
        return BufferNode(node, binding, Reason.SCHEMA_OLDER.value, topic, node.period)
    return BufferNode(
        node, binding, Reason.SCHEMA_CHANGED.value, topic, node.period, SchemaEffect.BECOMES_CURRENT
    )


def _isolate(
    submission: Submission, known: Known, policy: Policy, claim_id: str, wanted: tuple[Binding, ...]
) -> Plan | Rejection:
    """Safe mode: every node has a queue of its own, and a repeat of the submission the same ones until they expire
    (docs/semantics.md 5)."""
    reason = f"safe_mode:{submission.context.safe_mode}"
    actions: list[Action] = []
    new = 0
    for node, binding in zip(submission.dag.nodes, wanted, strict=True):
        queue = known.queues.get(binding)
        if queue is None:
            actions.append(IsolateNode(node, binding, reason, ""))
            new += 1
        elif queue.state in GONE or _is_expired(queue, known.now_ms):
            actions.append(IsolateNode(node, binding, reason, "", queue.incarnation + 1))
            new += 1
        else:
            ours = queue.state is QueueState.PROVISIONING and queue.claim_id == claim_id
            actions.append(
                IsolateNode(node, binding, reason, queue.topic, queue.incarnation, exists=not ours)
            )
    # Not for a repeat: what it needs exists, and refusing it would take answers back.
    if new and known.safe_topics + new > policy.safe_mode_max_topics:
        return Rejection(
            ErrorCode.RATE_LIMITED,
            f"safe mode holds {known.safe_topics} topics and {new} more would pass the limit of "
            f"{policy.safe_mode_max_topics}; send as_of or an execution domain, or retry later",
            field="execution_domain",
            expected=str(policy.safe_mode_max_topics),
            got=str(known.safe_topics + new),
        )
    return Plan(tuple(actions), plain=False)


def _unresolved(submission: Submission, known: Known) -> Rejection | None:
    missing = set(submission.dag.external).difference(known.nodes)
    if not missing:
        return None
    found = [
        {"node_id": node.node_id, "dependency": dependency}
        for node in submission.dag.nodes
        for dependency in sorted(missing.intersection(node.dependencies))
    ]
    return Rejection(
        ErrorCode.UNRESOLVED_DEPENDENCIES,
        f"{len(missing)} dependencies are neither in this DAG nor known",
        "/nodes",
        found[0]["node_id"],
        details=tuple(found[:100]),
    )


def _is_plain(action: Action) -> bool:
    match action:
        case ReuseNode(reason=reason, schema=SchemaEffect.NONE, merges=False):
            return reason == _SAME_SPEC
        case _:
            return False


def _is_expired(queue: QueueRow, now_ms: int) -> bool:
    return queue.expires_ms is not None and now_ms >= queue.expires_ms


def _safe_suffix_of(submission: Submission) -> str:
    return safe_suffix(submission.dag.lineage, submission.dag.content_digest, submission.context)
