"""The owner of a claim: taken over when its lease has ended, by a replay at any time, renewed during work.

A lease alone protects nothing: its owner may be paused for longer, and continue afterwards. So every step that writes for a
claim checks the owner again in its own transaction (`must_own`), under the locks of the rows that carry it
(docs/semantics.md 6).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.engine.model.graph_port import Locks, OpenClaim, Transaction
from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.model.version_rows import LineageKey, SentinelRow
from dagmanager.errors import ClaimLostError


def take_over(
    tx: Transaction, claim_id: str, owner: str, lease_ms: int, *, only_overdue: bool
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """Make `owner` the owner of this claim, with a lease of `lease_ms`; its unfinished queues and sentinels.

    Empty when it is finished, or, with `only_overdue`, when another owner's lease has not ended. A replay takes its own
    claim over in any case: the former owner died, or it will fail the check of its next step.
    """
    # Read twice: what to lock is known only from the rows, and who owns them only under the locks.
    tx.lock(locks_of(tx.open_claim(claim_id)))
    return take_over_locked(tx, tx.open_claim(claim_id), owner, lease_ms, only_overdue=only_overdue)


def take_over_locked(
    tx: Transaction, claim: OpenClaim, owner: str, lease_ms: int, *, only_overdue: bool
) -> tuple[tuple[QueueRow, ...], tuple[SentinelRow, ...]]:
    """The same when the rows of the claim are locked already."""
    # The store's clock, read after the locks were granted: clocks of processes differ, and waiting for locks takes time.
    now_ms = tx.now_ms()
    held_by = [(row.owner, row.lease_until_ms) for row in claim.queues]
    held_by += [(row.owner, row.lease_until_ms) for row in claim.sentinels]
    # An expired lease of another owner may be taken; so may one's own, which is renewed by this.
    held = any(other != owner and until > now_ms for other, until in held_by)
    if held and only_overdue:
        return (), ()
    until = now_ms + lease_ms
    queues = tuple(msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in claim.queues)
    sentinels = tuple(
        msgspec.structs.replace(row, owner=owner, lease_until_ms=until) for row in claim.sentinels
    )
    tx.put([*queues, *sentinels])
    return queues, sentinels


def renew(tx: Transaction, claim_ids: Iterable[str], owner: str, lease_ms: int) -> None:
    """Extend the leases of those of these claims that `owner` still owns (docs/semantics.md 6)."""
    claims = {each: tx.open_claim(each) for each in claim_ids}
    tx.lock(locks_of(*claims.values()))
    for each in claims:
        claim = tx.open_claim(each)
        # Equal, not a subset: to renew a claim of which a rival owns any row would take it back from the rival.
        if owners_of(claim) == {owner}:
            take_over_locked(tx, claim, owner, lease_ms, only_overdue=True)


def locks_of(*claims: OpenClaim) -> Locks:
    """The locks for writing the rows of these claims."""
    lineages = {LineageKey(row.key.lineage, row.key.namespace) for each in claims for row in each.sentinels}
    nodes = {row.binding.node_id for each in claims for row in each.queues}
    return Locks(lineages=tuple(sorted(lineages)), nodes=tuple(sorted(nodes)))


def owners_of(claim: OpenClaim) -> set[str]:
    """The owners of the rows of this claim: one, unless a take-over is half done; none when it is finished."""
    return {row.owner for row in claim.queues} | {row.owner for row in claim.sentinels}


def must_own(claim_id: str, claim: OpenClaim, owner: str) -> None:
    """`ClaimLostError` when the claim is finished, or any of its rows has another owner."""
    if not claim.queues and not claim.sentinels:
        msg = f"claim {claim_id} is finished"
        raise ClaimLostError(msg)
    others = sorted(owners_of(claim) - {owner})
    if others:
        msg = f"claim {claim_id} belongs to {', '.join(others)} now"
        raise ClaimLostError(msg)
