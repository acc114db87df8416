"""The rows of nodes and queues that a claim writes, and the names of new topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dagmanager.dag.model import Node
from dagmanager.engine.decide.node_attributes import merged
from dagmanager.engine.decide.topic_names import choose_base_names, choose_topics, needs_base_name
from dagmanager.engine.model.graph_port import Known, Locks, TakenName, Transaction
from dagmanager.engine.model.plan import (
    Action,
    BufferNode,
    CreateNode,
    IsolateNode,
    Reason,
    SchemaEffect,
)
from dagmanager.engine.model.rows import GONE, Binding, NodeRow, QueueRow, QueueState, Row, SchemaSeen, fold
from dagmanager.engine.transactions.decision import Decision
from dagmanager.engine.transactions.inherited_ttl import inherited_ttls


class NodeWrites(msgspec.Struct, frozen=True):
    """The writes that a plan needs.

    `rows` are to be put; `topics` has the topic of every binding. `provision` are the queues that this claim must create,
    `joined` topics that rivals are provisioning. `introduced` are the ids of new nodes. `raises_epoch`: an answer that
    was given before would be another one now.
    """

    rows: tuple[Row, ...]
    topics: Mapping[Binding, str]
    provision: tuple[QueueRow, ...]
    joined: tuple[str, ...]
    introduced: tuple[str, ...]
    raises_epoch: bool


def node_writes(tx: Transaction, decision: Decision) -> NodeWrites:
    """The rows for the actions of a plan; chooses and locks the names of new topics. The nodes are locked."""
    plan, known = decision.plan, decision.known
    if plan.plain:
        topics = {a.binding: a.topic for a in plan.actions}
        return NodeWrites((), topics, (), (), (), raises_epoch=False)
    new = [a for a in plan.actions if _needs_queue(a)]
    # Rows of an earlier attempt of this claim keep their names: their topics may exist at the broker already.
    mine = [known.queues[a.binding] for a in plan.actions if _is_ours_already(a)]
    names = _names(tx, decision, new)
    nodes = _node_rows(decision, names.base_names, _running_elsewhere(tx, decision))
    queues = {a.binding: _queue_row(a, names.topics[a.binding], nodes[a.node.node_id], decision) for a in new}
    queues |= _inheriting(tx, decision, queues)
    changed = [row for node_id, row in nodes.items() if known.nodes.get(node_id) != row]
    joined = (a.topic for a in plan.actions if _waits_for_rival(a, known))
    return NodeWrites(
        rows=(*changed, *queues.values()),
        topics={a.binding: queues[a.binding].topic if a.binding in queues else a.topic for a in plan.actions},
        provision=(*mine, *queues.values()),
        joined=tuple(sorted(set(joined))),
        introduced=tuple(a.node.node_id for a in plan.actions if a.reason == Reason.NEW_NODE.value),
        raises_epoch=any(_changes_answers(a, known) for a in plan.actions),
    )


def _inheriting(
    tx: Transaction, decision: Decision, queues: Mapping[Binding, QueueRow]
) -> dict[Binding, QueueRow]:
    """The queues of new nodes that replace an older node, with the TTL of its queue (F4)."""
    new = [a.node.node_id for a in decision.plan.actions if a.reason == Reason.NEW_NODE.value]
    ttls = inherited_ttls(tx, decision.submission, decision.known, new)
    return {
        binding: msgspec.structs.replace(row, ttl_ms=ttls[binding.node_id])
        for binding, row in queues.items()
        if binding.node_id in ttls
    }


def _waits_for_rival(action: Action, known: Known) -> bool:
    queue = known.queues.get(action.binding)
    if queue is None or queue.state is not QueueState.PROVISIONING or isinstance(action, CreateNode):
        return False
    return not isinstance(action, IsolateNode) or action.exists


def _changes_answers(action: Action, known: Known) -> bool:
    """Whether an answer that was given before would be another one now (docs/semantics.md 7, epoch)."""
    row = known.nodes.get(action.node.node_id)
    # A first schema is no change: every answer given so far was `same_spec` with none to compare.
    if row is None or not row.schema_hash:
        return False
    match action:
        case BufferNode(schema=SchemaEffect.BECOMES_CURRENT):
            return True
        case CreateNode(node=node):
            return _is_other_schema(node, row)
        case _:
            return False


class _Names(msgspec.Struct, frozen=True):
    """Base names by new node id; topic and incarnation by binding."""

    base_names: Mapping[str, str]
    topics: Mapping[Binding, tuple[str, int]]


def _names(tx: Transaction, decision: Decision, new: Sequence[Action]) -> _Names:
    """Names for new nodes and topics for `new` queues, chosen again until the graph says that all are free.

    The graph answers without a lock; the lock of the chosen names comes last. Two claims that choose the same name at
    once meet at the unique constraint, and the later one runs again.
    """
    known = decision.known
    unknown = [a.node for a in decision.plan.actions if needs_base_name(a, known)]
    taken = TakenName()
    while unknown or new:
        names = choose_base_names(unknown, decision.submission.dag.version, taken.base_names)
        bases = {node_id: row.base_name for node_id, row in known.nodes.items()} | names
        topics = choose_topics(
            {a.binding: (bases[a.node.node_id], _incarnation(a)) for a in new}, taken.topics
        )
        folded = sorted(fold(topic) for topic, _ in topics.values())
        found = tx.taken(folded, sorted(map(fold, names.values())))
        # The name that a node has, and may give up, is free for itself.
        own = {
            fold(names[each])
            for each in names.keys() & known.nodes.keys()
            if names[each] == known.nodes[each].base_name
        }
        used = found.base_names - own
        if not found.topics and not used:
            # Asked before locking: a lock on names that turn out to be taken could not be given back before the commit.
            tx.lock(Locks(names=tuple(folded)))
            return _Names(names, topics)
        taken = TakenName(taken.topics | found.topics, taken.base_names | used)
    return _Names({}, {})


def _running_elsewhere(tx: Transaction, decision: Decision) -> frozenset[str]:
    """The nodes whose new queue has another schema than their existing queues in other namespaces.

    The new queue itself has no old data to read again, but consumers in the other namespaces must buffer.
    """
    known = decision.known.nodes
    changing = {
        action.node.node_id: action.binding
        for action in decision.plan.actions
        if isinstance(action, CreateNode) and _is_other_schema(action.node, known.get(action.node.node_id))
    }
    if not changing:
        return frozenset()
    found = tx.node_usage(dict.fromkeys(sorted(changing), ()))
    return frozenset(
        node_id
        for node_id, usage in found.items()
        if any(queue.state not in GONE and queue.binding != changing[node_id] for queue in usage.queues)
    )


def _is_other_schema(node: Node, row: NodeRow | None) -> bool:
    return (
        row is not None
        and "" not in (node.schema_hash, row.schema_hash)
        and node.schema_hash != row.schema_hash
    )


def _node_rows(decision: Decision, names: Mapping[str, str], elsewhere: frozenset[str]) -> dict[str, NodeRow]:
    known, plan = decision.known, decision.plan
    # The store's clock: by the time of a record that waited for days, a window would end before it began.
    now_ms = known.now_ms
    rows: dict[str, NodeRow] = {}
    for action in plan.actions:
        node = action.node
        row = known.nodes.get(node.node_id)
        if needs_base_name(action, known):
            row = _new_node(node, names[node.node_id], row, decision)
            row = msgspec.structs.replace(row, safe_only=isinstance(action, IsolateNode))
        elif row is None:
            msg = f"no name was chosen for {node.node_id}"
            raise AssertionError(msg)
        elif not isinstance(action, IsolateNode):
            row = merged(row, node)
        row = _with_schema(row, action, now_ms)
        if node.node_id in elsewhere:
            row = _buffering(row, now_ms)
        rows[node.node_id] = row
    return rows


def _new_node(node: Node, base_name: str, before: NodeRow | None, decision: Decision) -> NodeRow:
    """A row that owes nothing to `before`, which only isolated or refused submissions have written."""
    return NodeRow(
        node_id=node.node_id,
        node_type=node.node_type,
        interval=node.interval,
        period=node.period,
        params_canon=node.params_canon,
        dependencies=node.dependencies,
        schema_compat_id=node.schema_compat_id,
        code_hash=node.code_hash,
        created_ms=decision.known.now_ms if before is None else before.created_ms,
        base_name=base_name,
        topic_type=decision.options.policy.topic_type(node.node_type),
        tags=() if before is None else before.tags,
        name=node.name,
        global_=node.global_,
        tag_query=node.tag_query,
        artifacts=node.artifacts,
    )


def _with_schema(row: NodeRow, action: Action, now_ms: int) -> NodeRow:
    """The node's row after this action: a created queue sets the schema, a changed schema becomes current."""
    sent = action.node.schema_hash
    match action:
        case IsolateNode():
            return row
        case CreateNode():
            return row if not sent or sent == row.schema_hash else _current(row, sent, now_ms)
        case _ if action.schema is SchemaEffect.ADOPT:
            return _current(row, sent, now_ms)
        case _ if action.schema is SchemaEffect.BECOMES_CURRENT:
            return _buffering(_current(row, sent, now_ms), now_ms)
        case _:
            return row


def _buffering(row: NodeRow, now_ms: int) -> NodeRow:
    return msgspec.structs.replace(row, buffering_since_ms=max(now_ms, row.buffering_since_ms or 0))


def _current(row: NodeRow, schema_hash: str, now_ms: int) -> NodeRow:
    seen = dict(row.schemas)
    # The window of the old schema starts when it stops being the current one. A clock that was set back moves nothing.
    for each in filter(None, (row.schema_hash, schema_hash)):
        seen[each] = max(now_ms, seen.get(each, 0))
    return msgspec.structs.replace(
        row,
        schema_hash=schema_hash,
        schemas=tuple(SchemaSeen(digest, when) for digest, when in sorted(seen.items())),
    )


def _needs_queue(action: Action) -> bool:
    match action:
        case CreateNode(topic="") | IsolateNode(topic=""):
            return True
        case _:
            return False


def _is_ours_already(action: Action) -> bool:
    """Whether an earlier attempt of this claim has created the row of this queue."""
    match action:
        case CreateNode(topic=topic) | IsolateNode(topic=topic, exists=False):
            return bool(topic)
        case _:
            return False


def _queue_row(action: Action, name: tuple[str, int], node: NodeRow, decision: Decision) -> QueueRow:
    options, context, now_ms = decision.options, decision.submission.context, decision.known.now_ms
    policy = options.policy
    safe = isinstance(action, IsolateNode)
    tag = policy.queue_tag(action.node.tags, node.topic_type)
    # A resurrected queue keeps the TTL of its last incarnation, although the policy may have changed since.
    before = action.predecessor if isinstance(action, CreateNode) else None
    ttl_ms = before.ttl_ms if before else policy.ttl_ms(tag)
    return QueueRow(
        topic=name[0],
        binding=action.binding,
        state=QueueState.PROVISIONING,
        incarnation=name[1],
        spec=policy.topic_spec(node.topic_type, options.brokers, safe),
        tag=tag,
        ttl_ms=policy.safe_retention_ms if safe else ttl_ms,
        created_ms=now_ms,
        claim_id=decision.claim_id,
        owner=options.owner,
        lease_until_ms=now_ms + policy.lease_ms,
        expires_ms=now_ms + policy.safe_retention_ms if safe else None,
        world_id=context.world_id,
        execution_domain=context.execution_domain,
    )


def _incarnation(action: Action) -> int:
    return action.incarnation if isinstance(action, CreateNode | IsolateNode) else 1
