"""A version in force gets one more holder: the one write of a DAG that the Gateway sends again.

`Graph.hold` in terms of a transaction; a server does the same in one statement.
"""

from __future__ import annotations

from dagmanager.engine.model.graph_port import HolderInsert, Locks, LookupKeys, Transaction
from dagmanager.engine.model.rows import LineageRow


def hold_in(tx: Transaction, hold: HolderInsert) -> bool:
    """Write the holder, its outcome and the lineage's clock; False when the graph is not as `hold` says."""
    tx.lock(Locks(lineages=(hold.lineage,)))
    known = tx.known(
        LookupKeys(
            lineages=frozenset({hold.lineage}),
            holders=frozenset({hold.holder.key}),
            outcomes=frozenset({hold.outcome.claim_id}),
        )
    )
    lineage = known.lineages.get(hold.lineage)
    if (
        lineage is None
        or known.epoch != hold.epoch
        or known.sentinels.get(hold.lineage, ()) != hold.sentinels
        or known.holders
        or known.outcomes
    ):
        return False
    tx.put([LineageRow(hold.lineage, max(lineage.last_at_ms, hold.at_ms)), hold.holder, hold.outcome])
    return True
