"""A claim that did not go as planned: another name is chosen, or the broker's refusal is recorded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dagmanager.engine.naming import topic_name
from dagmanager.engine.outcome import Outcome, decode, encode
from dagmanager.engine.ports import Locks, LookupKeys, Transaction
from dagmanager.engine.rows import (
    LineageKey,
    OutcomeRow,
    QueueRow,
    QueueState,
    SentinelRow,
    SentinelState,
    fold,
)
from dagmanager.errors import ErrorCode, Rejection


def rename(tx: Transaction, claim_id: str, foreign: frozenset[str]) -> tuple[QueueRow, ...]:
    """Give other names to this claim's queues whose topic turned out to be foreign.

    The old rows stay as failed tombstones (their names are never used again); the stored outcome is
    rewritten. Answers all queues that the claim still has to provision.
    """
    queues, _ = tx.claims(claim_id)
    tx.lock(Locks(bindings=tuple(sorted(row.binding for row in queues))))
    queues, _ = tx.claims(claim_id)
    moved: dict[str, str] = {}
    for row in sorted((row for row in queues if row.topic in foreign), key=lambda row: row.topic):
        node = tx.nodes([row.binding.node_id])[row.binding.node_id]
        number = row.incarnation + 1
        name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        while tx.taken_names([fold(name)]):
            number += 1
            name = topic_name(node.base_name, row.binding.namespace, number, row.binding.safe)
        moved[row.topic] = name
        new = msgspec.structs.replace(row, topic=name, incarnation=number, begun=False)
        tx.put([msgspec.structs.replace(row, state=QueueState.FAILED, claim_id="", owner=""), new])
    stored = tx.known(LookupKeys(outcomes=frozenset({claim_id}))).outcomes.get(claim_id)
    if stored is not None and stored.body:
        tx.put([_renamed(stored, moved)])
    return tx.claims(claim_id)[0]


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


def refuse(tx: Transaction, claim_id: str, refused: Mapping[str, str]) -> Rejection:
    """The broker will not have these topics: the queues fail and so does the submission.

    The lineage keeps its version. What the claim created otherwise stays, unreferenced, for the
    collector; the next submission makes new incarnations.
    """
    queues, sentinels = tx.claims(claim_id)
    lineages = tuple(sorted({LineageKey(row.key.lineage, row.key.namespace) for row in sentinels}))
    tx.lock(Locks(lineages=lineages, bindings=tuple(sorted(row.binding for row in queues))))
    queues, sentinels = tx.claims(claim_id)
    now_ms = tx.now_ms()
    failed = {row.topic for row in queues if row.topic in refused}
    tx.put([_failed(row) if row.topic in failed else row for row in queues])
    tx.put(
        [
            msgspec.structs.replace(row, unreferenced_ms=now_ms)
            for row in queues
            if row.topic not in failed and row.unreferenced_ms is None
        ]
    )
    for sentinel in sentinels:
        _release(tx, sentinel)
    first = min(refused)
    rejection = Rejection(
        ErrorCode.TOPIC_REFUSED,
        f"the broker refused {len(refused)} topics, the first is {first}: {refused[first]}",
        got=first,
        details=tuple({"topic": topic, "reason": reason} for topic, reason in sorted(refused.items())[:100]),
    )
    tx.put([OutcomeRow(claim_id, encode(rejection), (), now_ms)])
    return rejection


def _failed(row: QueueRow) -> QueueRow:
    return msgspec.structs.replace(row, state=QueueState.FAILED, claim_id="", owner="")


def _release(tx: Transaction, sentinel: SentinelRow) -> None:
    """A pending sentinel that will never be in force; who held it holds nothing."""
    tx.put(
        [
            msgspec.structs.replace(
                sentinel, state=SentinelState.RELEASED, takeover=None, claim_id="", owner="", weight=0.0
            )
        ]
    )
    tx.delete(tx.holders_of(sentinel.key))


def mark_begun(tx: Transaction, topics: frozenset[str], owner: str) -> None:
    """Write down that we are about to ask the broker for these names (decisions 3)."""
    found = tx.queues_by_topic(topics)
    tx.lock(Locks(bindings=tuple(sorted(row.binding for row in found.values()))))
    rows = tx.queues_by_topic(topics).values()
    tx.put(
        [
            msgspec.structs.replace(row, begun=True)
            for row in rows
            if row.owner == owner and row.state is QueueState.PROVISIONING and not row.begun
        ]
    )
