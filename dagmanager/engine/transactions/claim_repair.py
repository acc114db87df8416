"""A claim that did not go as planned: another name is chosen, or the broker's refusal is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.decide.topic_names import topic_name
from dagmanager.engine.model.graph_port import Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import ActionCounts, Outcome, count_actions, decode, encode
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import (
    GONE,
    OutcomeRow,
    QueueRow,
    QueueState,
    SentinelRow,
    SentinelState,
    fold,
)
from dagmanager.engine.transactions.lease import locks_of, must_own, owners_of
from dagmanager.engine.transactions.references import content_nodes, mark_unreferenced
from dagmanager.errors import ErrorCode, Rejection


def rename(
    tx: Transaction, claim_id: str, foreign: frozenset[str], owner: str, *, begun: bool
) -> tuple[QueueRow, ...]:
    """Give other names to this claim's queues whose topic turned out to be foreign.

    `begun` tells what was known of them when they were found: a topic that somebody else has begun to
    create for us meanwhile is ours. The old rows stay as failed tombstones (their names are never used
    again); the stored outcome is rewritten. Answers all queues that the claim still has to provision.
    """
    tx.lock(msgspec.structs.replace(locks_of(tx.open_claim(claim_id)), lineages=()))
    claim = tx.open_claim(claim_id)
    must_own(claim_id, claim, owner)
    moved: dict[str, str] = {}
    for row in claim.queues:
        if row.topic not in foreign or row.begun is not begun:
            continue
        node = tx.nodes([row.binding.node_id])[row.binding.node_id]
        number = row.incarnation + 1
        name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        while tx.taken([fold(name)]).topics:
            number += 1
            name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        moved[row.topic] = name
        new = msgspec.structs.replace(row, topic=name, incarnation=number, begun=False)
        tx.put([_failed(row), new])
    tx.lock(Locks(names=tuple(sorted(fold(name) for name in moved.values()))))
    stored = tx.known(LookupKeys(outcomes=frozenset({claim_id}))).outcomes.get(claim_id)
    if stored is not None and stored.body:
        tx.put([_renamed(stored, moved)])
    return tx.open_claim(claim_id).queues


def _renamed(stored: OutcomeRow, moved: Mapping[str, str]) -> OutcomeRow:
    outcome = decode(stored.body)
    if not isinstance(outcome, Outcome):
        return stored
    items = tuple((key, moved.get(topic, topic)) for key, topic in outcome.items)
    return msgspec.structs.replace(
        stored,
        body=encode(msgspec.structs.replace(outcome, items=items)),
        topics=tuple(sorted(moved.get(topic, topic) for topic in stored.topics)),
    )


def merge_redecided(stored: OutcomeRow, decided: Outcome, plan: Plan, failed: frozenset[str]) -> Outcome:
    """The stored answer with the queues that failed untold decided again; all else as it was.

    `decided` is the whole submission decided anew: what this claim had created before looks reused
    there, so that only the failed queues may speak from it.
    """
    before = decode(stored.body)
    if not isinstance(before, Outcome):
        return decided
    topics, buffered = dict(before.items), {each.node_id for each in before.buffers}
    counts = Counter(msgspec.structs.asdict(before.actions))
    replaced: set[str] = set()
    for action, (key, _) in zip(plan.actions, decided.items, strict=True):
        if topics[key] in failed:
            node_id = action.node.node_id
            counts["isolate" if before.safe_mode else "buffer" if node_id in buffered else "reuse"] -= 1
            counts.update(msgspec.structs.asdict(count_actions((action,))))
            replaced.add(node_id)
    buffers = [each for each in before.buffers if each.node_id not in replaced]
    buffers += [each for each in decided.buffers if each.node_id in replaced]
    place = {action.node.node_id: position for position, action in enumerate(plan.actions)}
    return msgspec.structs.replace(
        before,
        items=decided.items,
        buffers=tuple(sorted(buffers, key=lambda each: place[each.node_id])),
        actions=ActionCounts(**counts),
    )


def refuse(tx: Transaction, claim_id: str, refused: Mapping[str, str], owner: str) -> Rejection:
    """The broker will not have these topics: the queues fail and so does the submission.

    The lineage keeps its version. What the claim created or took up otherwise stays and is free again,
    unless somebody else has taken it up; the next submission makes new incarnations.
    """
    claim = tx.open_claim(claim_id)
    locks = locks_of(claim)
    tx.lock(Locks(lineages=locks.lineages))
    freed = {(row.binding.namespace, row.binding.node_id) for row in claim.queues if not row.binding.safe}
    for row in claim.sentinels:
        freed.update((row.key.namespace, each) for each in content_nodes(tx, [row.content]))
    tx.lock(Locks(nodes=tuple(sorted({each for _, each in freed}.union(locks.nodes)))))
    claim = tx.open_claim(claim_id)
    must_own(claim_id, claim, owner)
    now_ms = tx.now_ms()
    tx.put([_failed(row) for row in claim.queues if row.topic in refused])
    for sentinel in claim.sentinels:
        tx.put([_released(sentinel)])
        # Who held a version that will never be in force holds nothing.
        tx.delete(tx.holders_of(sentinel.key))
    for namespace in sorted({namespace for namespace, _ in freed}):
        tx.put(
            mark_unreferenced(tx, [each for place, each in freed if place == namespace], namespace, now_ms)
        )
    first = min(refused)
    rejection = Rejection(
        ErrorCode.TOPIC_REFUSED,
        f"the broker refused {len(refused)} topics, the first is {first}: {refused[first]}",
        got=first,
        details=tuple({"topic": topic, "reason": reason} for topic, reason in sorted(refused.items())[:100]),
    )
    tx.put([OutcomeRow(claim_id, encode(rejection), (), now_ms)])
    return rejection


def give_up(tx: Transaction, claim_id: str, owner: str) -> Rejection | None:
    """Refuse what is left of a claim whose joined queue failed while nobody was there to decide again."""
    pending = tx.open_claim(claim_id).sentinels
    joined = tx.queues_by_topic({topic for row in pending for topic in row.waits})
    gone = {
        topic: f"the queue it joined is {row.state.value}"
        for topic, row in joined.items()
        if row.state in GONE
    }
    return refuse(tx, claim_id, gone, owner) if gone else None


def _failed(row: QueueRow) -> QueueRow:
    return msgspec.structs.replace(row, state=QueueState.FAILED, claim_id="", owner="")


def _released(row: SentinelRow) -> SentinelRow:
    return msgspec.structs.replace(
        row, state=SentinelState.RELEASED, takeover=None, claim_id="", owner="", weight=0.0, waits=()
    )


def begin(
    tx: Transaction,
    claims: Mapping[str, Iterable[QueueRow]],
    checked: frozenset[str],
    owner: str,
    lease_ms: int,
) -> dict[str, tuple[QueueRow, ...]]:
    """Write down that we are about to ask the broker for these names (docs/semantics.md 4), and hold them anew.

    Only names that were `checked` (looked up and free). Answers the queues of each claim as they are
    now; claims that somebody else took over are left out: we may not ask for their topics any more.
    """
    locked = {row.binding.node_id for rows in claims.values() for row in rows}
    tx.lock(Locks(nodes=tuple(sorted(locked))))
    ours: dict[str, tuple[QueueRow, ...]] = {}
    for each in claims:
        claim = tx.open_claim(each)
        if owners_of(claim) <= {owner}:
            lease_until_ms = tx.now_ms() + lease_ms
            begun = [
                msgspec.structs.replace(row, begun=True, lease_until_ms=lease_until_ms)
                for row in claim.queues
                if row.topic in checked and row.binding.node_id in locked
            ]
            tx.put(begun)
            by_topic = {row.topic: row for row in begun}
            ours[each] = tuple(by_topic.get(row.topic, row) for row in claim.queues)
    return ours
