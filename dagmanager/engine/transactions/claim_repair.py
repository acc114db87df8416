"""Changes to a claim whose topics could not be created: other names, or the broker's refusal as the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.decide.topic_names import topic_name
from dagmanager.engine.model.graph_port import Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import Outcome, decode, encode
from dagmanager.engine.model.policy import Policy
from dagmanager.engine.model.rows import GONE, NodeRow, OutcomeRow, QueueRow, QueueState, fold
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.transactions.lease import locks_of, must_own, owners_of
from dagmanager.engine.transactions.references import content_nodes, mark_unreferenced
from dagmanager.errors import ErrorCode, Rejection


def rename(
    tx: Transaction, claim_id: str, foreign: frozenset[str], owner: str, *, begun: bool
) -> tuple[QueueRow, ...]:
    """Give this claim's queues of `foreign` topics other names; all queues that the claim still has to provision.

    `begun` is the mark that the queues had when their topics were found to be foreign. A queue with another mark by now
    is left alone: another process began to create its topic for this claim. The old rows stay as failed tombstones, so
    that their names are never used again; the stored outcome is rewritten. Raises `ClaimLostError`.
    """
    # Not the lineages: another name changes no version, and their locks would make the strategy's submissions wait.
    tx.lock(msgspec.structs.replace(locks_of(tx.open_claim(claim_id)), lineages=()))
    claim = tx.open_claim(claim_id)
    must_own(claim_id, claim, owner)
    renamed: dict[str, str] = {}
    for row in claim.queues:
        if row.topic not in foreign or row.begun is not begun:
            continue
        # A higher incarnation, not another base name: queues of the node in other namespaces have that one, too.
        node = tx.nodes([row.binding.node_id])[row.binding.node_id]
        number = row.incarnation + 1
        name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        while tx.taken([fold(name)]).topics:
            number += 1
            name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        renamed[row.topic] = name
        new = msgspec.structs.replace(row, topic=name, incarnation=number, begun=False)
        # Put at once, so that `taken` knows it when the next queue gets its name.
        tx.put([_failed(row), new])
    tx.lock(Locks(names=tuple(sorted(fold(name) for name in renamed.values()))))
    # A stored answer may still change here: it is published only after its queues are active.
    stored = tx.known(LookupKeys(outcomes=frozenset({claim_id}))).outcomes.get(claim_id)
    if stored is not None and stored.body:
        tx.put([_with_new_names(stored, renamed)])
    return tx.open_claim(claim_id).queues


def _with_new_names(stored: OutcomeRow, renamed: Mapping[str, str]) -> OutcomeRow:
    outcome = decode(stored.body)
    if not isinstance(outcome, Outcome):
        return stored
    items = tuple((key, renamed.get(topic, topic)) for key, topic in outcome.items)
    return msgspec.structs.replace(
        stored,
        body=encode(msgspec.structs.replace(outcome, items=items)),
        topics=tuple(sorted(renamed.get(topic, topic) for topic in stored.topics)),
    )


def respecify(
    tx: Transaction, claims: Mapping[str, Iterable[QueueRow]], owner: str, policy: Policy, brokers: int
) -> dict[str, tuple[QueueRow, ...]]:
    """Give queues whose spec no broker could create the spec of today's settings; the queues of each claim afterwards.

    Their claims were made under settings that no start accepts any more. Claims with another owner are left out.
    Idempotent.
    """
    locked = {row.binding.node_id for rows in claims.values() for row in rows}
    tx.lock(Locks(nodes=tuple(sorted(locked))))
    nodes = tx.nodes(sorted(locked))
    ours: dict[str, tuple[QueueRow, ...]] = {}
    for each in claims:
        claim = tx.open_claim(each)
        if not owners_of(claim) <= {owner}:
            continue
        changed = {}
        for row in claim.queues:
            if not row.spec.is_possible and row.binding.node_id in locked:
                topic_type = nodes[row.binding.node_id].topic_type
                spec = policy.topic_spec(topic_type, brokers, bool(row.binding.safe))
                changed[row.topic] = msgspec.structs.replace(row, spec=spec)
        tx.put(list(changed.values()))
        ours[each] = tuple(changed.get(row.topic, row) for row in claim.queues)
    return ours


def refuse(tx: Transaction, claim_id: str, refused: Mapping[str, str], owner: str) -> Rejection:
    """Fail the queues of `refused` topics (with the broker's reasons) and store `topic_refused` as the answer.

    The pending version is released, so the lineage keeps the one it has. Other queues of the claim stay; those that
    nothing references are marked so. The next submission of these nodes creates new incarnations. Raises
    `ClaimLostError`.
    """
    claim = tx.open_claim(claim_id)
    locks = locks_of(claim)
    # Lineages first: which nodes their contents have can be read only under their locks.
    tx.lock(Locks(lineages=locks.lineages))
    freed = {(row.binding.namespace, row.binding.node_id) for row in claim.queues if not row.binding.safe}
    for row in claim.sentinels:
        freed.update((row.key.namespace, each) for each in content_nodes(tx, [row.content]))
    tx.lock(Locks(nodes=tuple(sorted({each for _, each in freed}.union(locks.nodes)))))
    claim = tx.open_claim(claim_id)
    must_own(claim_id, claim, owner)
    now_ms = tx.now_ms()
    failed = [_failed(row) for row in claim.queues if row.topic in refused]
    tx.put(failed)
    tx.put(_never_named(tx, failed))
    for sentinel in claim.sentinels:
        tx.put([released(sentinel)])
        # A released version has no holders: their resends are new submissions.
        tx.delete(tx.holders_of(sentinel.key))
    for namespace in sorted({namespace for namespace, _ in freed}):
        tx.put(
            mark_unreferenced(tx, [each for where, each in freed if where == namespace], namespace, now_ms)
        )
    first = min(refused)
    rejection = Rejection(
        ErrorCode.TOPIC_REFUSED,
        f"the broker refused {len(refused)} topics, the first is {first}: {refused[first]}",
        got=first,
        details=tuple({"topic": topic, "reason": reason} for topic, reason in sorted(refused.items())[:100]),
    )
    # In place of the stored acceptance, which waited for these topics and so was never published.
    tx.put([OutcomeRow(claim_id, encode(rejection), (), now_ms)])
    return rejection


def give_up(tx: Transaction, claim_id: str, owner: str) -> Rejection | None:
    """Refuse an abandoned claim when a queue that it joined is gone; None when none is.

    The process that owned it would have decided the submission again; only that process, or a replay, has the
    submission.
    """
    # Read without locks: a tombstone never becomes active again, and `refuse` checks the owner under its locks.
    pending = tx.open_claim(claim_id).sentinels
    joined = tx.queues_by_topic({topic for row in pending for topic in row.waits})
    gone = {
        topic: f"the queue it joined is {row.state.value}"
        for topic, row in joined.items()
        if row.state in GONE
    }
    return refuse(tx, claim_id, gone, owner) if gone else None


def _never_named(tx: Transaction, failed: Iterable[QueueRow]) -> list[NodeRow]:
    """The nodes of these queues that have no other queue: their base name may be what was refused, and the next
    submission chooses again (docs/semantics.md 4)."""
    nodes = {row.binding.node_id for row in failed if not row.binding.safe}
    found = tx.node_usage(dict.fromkeys(sorted(nodes), ())) if nodes else {}
    return [
        msgspec.structs.replace(usage.node, base_refused=True)
        for usage in found.values()
        if all(row.state is QueueState.FAILED for row in usage.queues)
    ]


def _failed(row: QueueRow) -> QueueRow:
    return msgspec.structs.replace(row, state=QueueState.FAILED, claim_id="", owner="")


def released(row: SentinelRow) -> SentinelRow:
    """A pending version whose claim failed."""
    return msgspec.structs.replace(
        row, state=SentinelState.RELEASED, takeover=None, claim_id="", owner="", weight=0.0, waits=()
    )
