"""The TTL that the queue of a new node inherits from the queue of the node that it replaces (F4)."""

from __future__ import annotations

from collections.abc import Iterable

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.node_pairing import PairingNode, pair
from dagmanager.engine.decide.predecessor import predecessor
from dagmanager.engine.model.graph_port import Known, LookupKeys, Transaction
from dagmanager.engine.model.rows import Binding


def inherited_ttls(
    tx: Transaction, submission: Submission, known: Known, new_ids: Iterable[str]
) -> dict[str, int]:
    """TTLs in milliseconds by new node id, for those of `new_ids` that replace a node of the version in force."""
    wanted = frozenset(new_ids)
    before = predecessor(submission, known)
    content = tx.contents([before.content]).get(before.content) if before is not None and wanted else None
    if content is None:
        return {}
    namespace = submission.context.namespace
    old_ids = [member.node_id for member in content.members]
    # Read without locks: a queue's TTL is set when its row is created, and never changes.
    there = tx.known(LookupKeys(bindings=frozenset(Binding(each, namespace) for each in old_ids)))
    old = [
        PairingNode(member.node_id, member.name, row.node_type, row.code_hash)
        for member in content.members
        if (row := there.nodes.get(member.node_id)) is not None
    ]
    new = [
        PairingNode(node.node_id, node.name, node.node_type, node.code_hash) for node in submission.dag.nodes
    ]
    replaced = {each: by for each, by in pair(new, old).items() if each in wanted}
    queues = {each: there.queues.get(Binding(by, namespace)) for each, by in replaced.items()}
    return {each: queue.ttl_ms for each, queue in queues.items() if queue is not None}
