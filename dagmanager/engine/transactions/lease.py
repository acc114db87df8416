"""Claims change hands: taken over when overdue, taken back by a replay, renewed while working.

Every change of owner is a compare-and-set inside a transaction; activation checks the owner, so a
process that woke up too late cannot act (docs/semantics.md 6).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.engine.model.graph_port import Locks, OpenClaim, Transaction
from dagmanager.engine.model.rows import LineageKey, QueueRow, SentinelRow
from dagmanager.errors import ClaimLostError


def take_over(
    tx: Transaction, claim_id: str, owner: str, lease_ms: int, *, only_overdue: bool
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """Make this claim ours and its lease new; empty when a live owner holds it (`only_overdue`).

    A replay takes its own claim whatever the lease says: its former owner is a process that died, or
    one that will be refused at activation.
    """
    tx.lock(locks_of(tx.open_claim(claim_id)))
    return take_over_locked(tx, tx.open_claim(claim_id), owner, lease_ms, only_overdue=only_overdue)


def take_over_locked(
    tx: Transaction, claim: OpenClaim, owner: str, lease_ms: int, *, only_overdue: bool
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """The same for rows that are locked already."""
    now_ms = tx.now_ms()
    held_by = [(row.owner, row.lease_until_ms) for row in claim.queues]
    held_by += [(row.owner, row.lease_until_ms) for row in claim.sentinels]
    held = any(other != owner and until > now_ms for other, until in held_by)
    if held and only_overdue:
        return (), ()
    until = now_ms + lease_ms
    mine = tuple(msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in claim.queues)
    ours = tuple(msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in claim.sentinels)
    tx.put([*mine, *ours])
    return mine, ours


def renew(tx: Transaction, claim_ids: Iterable[str], owner: str, lease_ms: int) -> None:
    """A new lease for whatever of these claims is still ours: we are at work (docs/semantics.md 6)."""
    claims = {each: tx.open_claim(each) for each in claim_ids}
    tx.lock(locks_of(*claims.values()))
    for each in claims:
        claim = tx.open_claim(each)
        if owners_of(claim) == {owner}:
            take_over_locked(tx, claim, owner, lease_ms, only_overdue=True)


def locks_of(*claims: OpenClaim) -> Locks:
    """What must be locked to write the rows of these claims."""
    lineages = {LineageKey(row.key.lineage, row.key.namespace) for each in claims for row in each.sentinels}
    nodes = {row.binding.node_id for each in claims for row in each.queues}
    return Locks(lineages=tuple(sorted(lineages)), nodes=tuple(sorted(nodes)))


def owners_of(claim: OpenClaim) -> set[str]:
    """Who holds the rows of this claim."""
    return {row.owner for row in claim.queues} | {row.owner for row in claim.sentinels}


def must_own(claim_id: str, claim: OpenClaim, owner: str) -> None:
    """`ClaimLostError` when any row of the claim has another owner by now, or none is open: another finished it."""
    if not claim.queues and not claim.sentinels:
        msg = f"claim {claim_id} is finished"
        raise ClaimLostError(msg)
    strangers = sorted(owners_of(claim) - {owner})
    if strangers:
        msg = f"claim {claim_id} belongs to {', '.join(strangers)} now"
        raise ClaimLostError(msg)
