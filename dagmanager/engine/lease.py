"""Claims change hands: taken over when overdue, taken back by a replay, renewed while working.

Every change of owner is a compare-and-set inside a transaction; activation checks the owner, so a
process that woke up too late cannot act (decisions 5).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.engine.ports import Locks, Transaction
from dagmanager.engine.rows import LineageKey, QueueRow, SentinelRow
from dagmanager.errors import ClaimLostError


def take(
    tx: Transaction, claim_id: str, owner: str, lease_ms: int, *, only_overdue: bool
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """Make this claim ours and its lease new; empty when a live owner holds it (`only_overdue`).

    A replay takes its own claim whatever the lease says: its former owner is a process that died, or
    one that will be refused at activation.
    """
    queues, sentinels = tx.claims(claim_id)
    tx.lock(
        Locks(
            lineages=tuple(sorted({LineageKey(row.key.lineage, row.key.namespace) for row in sentinels})),
            nodes=tuple(sorted({row.binding.node_id for row in queues})),
        )
    )
    queues, sentinels = tx.claims(claim_id)
    return take_locked(tx, queues, sentinels, owner, lease_ms, only_overdue=only_overdue)


def take_locked(
    tx: Transaction,
    queues: tuple[QueueRow, ...],
    sentinels: tuple[SentinelRow, ...],
    owner: str,
    lease_ms: int,
    *,
    only_overdue: bool,
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """The same for rows that are locked already."""
    now_ms = tx.now_ms()
    held_by = [(row.owner, row.lease_until_ms) for row in queues]
    held_by += [(row.owner, row.lease_until_ms) for row in sentinels]
    held = any(other != owner and until > now_ms for other, until in held_by)
    if held and only_overdue:
        return (), ()
    until = now_ms + lease_ms
    mine = tuple(msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in queues)
    ours = tuple(msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in sentinels)
    tx.put([*mine, *ours])
    return mine, ours


def renew(tx: Transaction, claim_ids: Iterable[str], owner: str, lease_ms: int) -> None:
    """A new lease for whatever of these claims is still ours: we are at work (decisions 5)."""
    claims = {each: tx.claims(each) for each in claim_ids}
    lineages = {LineageKey(row.key.lineage, row.key.namespace) for _, rows in claims.values() for row in rows}
    nodes = {row.binding.node_id for rows, _ in claims.values() for row in rows}
    tx.lock(Locks(lineages=tuple(sorted(lineages)), nodes=tuple(sorted(nodes))))
    for each in claims:
        queues, sentinels = tx.claims(each)
        if owners_of(queues, sentinels) == {owner}:
            take_locked(tx, queues, sentinels, owner, lease_ms, only_overdue=True)


def owners_of(queues: Iterable[QueueRow], sentinels: Iterable[SentinelRow]) -> set[str]:
    """Who holds these rows of one claim."""
    return {row.owner for row in queues} | {row.owner for row in sentinels}


def must_own(claim_id: str, queues: Iterable[QueueRow], sentinels: Iterable[SentinelRow], owner: str) -> None:
    """`ClaimLostError` when any of these rows has another owner by now."""
    strangers = sorted(owners_of(queues, sentinels) - {owner})
    if strangers:
        msg = f"claim {claim_id} belongs to {', '.join(strangers)} now"
        raise ClaimLostError(msg)
