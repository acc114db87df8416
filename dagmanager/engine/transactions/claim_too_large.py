"""Ends a claim whose activation does not fit into the memory of the graph's server: refused, in transactions that do.

Its topics exist by then. They become active in parts, so that the next submission reuses them, and nothing is left that a
poll would try again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from dagmanager.engine.model.graph_port import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import decode, encode
from dagmanager.engine.model.rows import Binding, OutcomeRow, QueueState
from dagmanager.engine.transactions.activate import activate_claimed
from dagmanager.engine.transactions.claim_repair import released
from dagmanager.engine.transactions.lease import locks_of, must_own
from dagmanager.engine.transactions.references import content_nodes, mark_unreferenced
from dagmanager.errors import ErrorCode, Rejection, StoreMemoryError

# Some 15 MB on the server.
PART_NODES: Final = 500


def refuse_too_large(
    graph: Graph, claim_id: str, topic_ids: Mapping[str, str], owner: str, error: StoreMemoryError
) -> Rejection:
    """Refuse a claim with `too_large`; `topic_ids` are its verified topics with the broker's ids.

    The version is released, so the lineage keeps the one it has. Blocks for a transaction per 500 nodes. A crash in
    between leaves queues with a lease, and the poll continues. Raises `ClaimLostError`, and as `Graph.transact`.
    """
    why, left = graph.transact(partial(_release, claim_id=claim_id, owner=owner, reason=str(error)))
    for start in range(0, len(left), PART_NODES):
        part = frozenset(left[start : start + PART_NODES])
        graph.transact(partial(_settle, claim_id=claim_id, owner=owner, part=part, topic_ids=topic_ids))
    return why


def _release(
    tx: Transaction, claim_id: str, owner: str, reason: str
) -> tuple[Rejection, tuple[Binding, ...]]:
    """Release the version and store the answer, unless it was refused before; the answer, and what is left to settle."""
    claim = tx.open_claim(claim_id)
    locks = locks_of(claim)
    # One node is enough to exclude a take-over of a claim without version: that locks all of them.
    tx.lock(Locks(lineages=locks.lineages, nodes=locks.nodes[:1]))
    claim = tx.open_claim(claim_id)
    must_own(claim_id, claim, owner)
    left = {row.binding for row in claim.queues}
    for sentinel in claim.sentinels:
        nodes = content_nodes(tx, [sentinel.content])
        left.update(Binding(each, sentinel.key.namespace) for each in nodes)
        tx.put([released(sentinel)])
        tx.delete(tx.holders_of(sentinel.key))
    stored = tx.known(LookupKeys(outcomes=frozenset({claim_id}))).outcomes.get(claim_id)
    before = decode(stored.body) if stored is not None and stored.body else None
    if isinstance(before, Rejection):
        return before, tuple(sorted(left))
    why = Rejection(
        ErrorCode.TOO_LARGE,
        f"the graph has no memory for activating {len(left)} nodes in one transaction; send a smaller DAG, or give the"
        f" server more memory: {reason}",
        field="/nodes",
        got=str(len(left)),
    )
    tx.put([OutcomeRow(claim_id, encode(why), (), tx.now_ms())])
    return why, tuple(sorted(left))


def _settle(
    tx: Transaction, claim_id: str, owner: str, part: frozenset[Binding], topic_ids: Mapping[str, str]
) -> None:
    """Activate the queues of this part that the claim still has, and mark those that nothing references."""
    tx.lock(Locks(nodes=tuple(sorted({each.node_id for each in part}))))
    found = tx.known(LookupKeys(bindings=part)).queues.values()
    ours = [
        row
        for row in found
        if row.state is QueueState.PROVISIONING
        and (row.claim_id, row.owner) == (claim_id, owner)
        and row.topic in topic_ids
    ]
    activate_claimed(tx, ours, (), topic_ids, {})
    shared = [each for each in part if not each.safe]
    for namespace in sorted({each.namespace for each in shared}):
        nodes = [each.node_id for each in shared if each.namespace == namespace]
        tx.put(mark_unreferenced(tx, nodes, namespace, tx.now_ms()))
