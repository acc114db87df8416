"""`Graph.add_holder` in terms of a transaction, for the embedded stores; Neo4j does the same in one statement.

It is the only write for a DAG that the Gateway sends again under a new strategy id, the most frequent submission.
"""

from __future__ import annotations

from dagmanager.engine.model.graph_port import HolderInsert, Locks, LookupKeys, Transaction


def insert_holder(tx: Transaction, insert: HolderInsert) -> bool:
    """Insert the holder, its outcome and the lineage's clock; False when the graph has changed since it was decided."""
    # The lineage alone: while it is locked its version keeps every node of the content, so that none can be collected.
    key = insert.lineage.key
    tx.lock(Locks(lineages=(key,)))
    known = tx.known(
        LookupKeys(
            lineages=frozenset({key}),
            holders=frozenset({insert.holder.key}),
            outcomes=frozenset({insert.outcome.claim_id}),
        )
    )
    lineage = known.lineages.get(key)
    # The epoch does not count changes of versions, so the sentinels are compared as well. A holder that exists makes this
    # a resend or a new command, an outcome makes it a replay: the claim decides those.
    if (
        lineage is None
        or known.epoch != insert.epoch
        or known.sentinels.get(key, ()) != insert.sentinels
        or known.holders
        or known.outcomes
    ):
        return False
    # `max`: records of a lineage are read in any order, and its clock must not go back.
    tx.put([max(lineage, insert.lineage, key=lambda row: row.place), insert.holder, insert.outcome])
    return True
