"""Step 1b of the effects: write down that the broker is about to be asked for a topic (docs/semantics.md 4).

A topic that exists under a name of ours may be ours, created by a process that died, or foreign. The mark `begun`
decides: before it is set, the name was described and found free; whatever appears under the name afterwards is ours, if
its shape is as asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import QueueRow
from dagmanager.engine.transactions.lease import owners_of


def begin(
    tx: Transaction,
    claims: Mapping[str, Iterable[QueueRow]],
    checked: frozenset[str],
    owner: str,
    lease_ms: int,
) -> dict[str, tuple[QueueRow, ...]]:
    """Mark the `checked` queues of these claims as begun, with a new lease of `lease_ms`.

    `checked` are topics that were described and found free. Answers the queues of each claim as they are now; claims
    with another owner are left out: this process may no longer ask for their topics. Idempotent.
    """
    locked = {row.binding.node_id for rows in claims.values() for row in rows}
    tx.lock(Locks(nodes=tuple(sorted(locked))))
    ours: dict[str, tuple[QueueRow, ...]] = {}
    for each in claims:
        # Read again under the locks: since the names were described, a rival may have taken the claim over and renamed its
        # queues. Subset, not equal: a finished claim has no owner, and is answered with no queues.
        claim = tx.open_claim(each)
        if owners_of(claim) <= {owner}:
            lease_until_ms = tx.now_ms() + lease_ms
            # Only what was checked: a mark on another name would turn a foreign topic into ours.
            begun = [
                msgspec.structs.replace(row, begun=True, lease_until_ms=lease_until_ms)
                for row in claim.queues
                if row.topic in checked and row.binding.node_id in locked
            ]
            tx.put(begun)
            by_topic = {row.topic: row for row in begun}
            ours[each] = tuple(by_topic.get(row.topic, row) for row in claim.queues)
    return ours
