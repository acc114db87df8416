"""Which queues a version change frees or takes up again (decisions 6).

A queue is referenced while the content of a pending, active or parked sentinel of its namespace
contains its node, or a node that depends on it. Only the first reference and the last one write.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.engine.ports import Known, LookupKeys, Transaction
from dagmanager.engine.rows import GONE, REFERENCING, Binding, QueueRow, SentinelRow


def content_nodes(tx: Transaction, digests: Iterable[str]) -> frozenset[str]:
    """The nodes of these contents and what they depend on."""
    found = tx.contents(set(digests)).values()
    members = frozenset(member.node_id for content in found for member in content.members)
    return members.union(*(content.outside for content in found))


def standing_nodes(tx: Transaction, sentinels: Iterable[SentinelRow]) -> frozenset[str]:
    """Every node that these versions of a lineage reference: what a change of it must lock.

    Any of them may leave when one of them is put in force, so all of the lineage's are to be named.
    """
    return content_nodes(tx, {row.content for row in sentinels if row.state in REFERENCING})


def taken_up(known: Known, wanted: Iterable[Binding]) -> list[QueueRow]:
    """Queue rows whose `unreferenced_ms` must be cleared because something references them again; tombstones stay."""
    rows = (known.queues.get(binding) for binding in wanted)
    return [
        msgspec.structs.replace(row, unreferenced_ms=None)
        for row in rows
        if row is not None and row.unreferenced_ms is not None and row.state not in GONE
    ]


def set_free(tx: Transaction, node_ids: Iterable[str], namespace: str, now_ms: int) -> list[QueueRow]:
    """Queue rows of these nodes that nothing references any more, marked with the moment.

    The nodes must be locked: a rival that takes one up again comes before or after, never between.
    """
    wanted = sorted(node_ids)
    known = tx.known(LookupKeys(bindings=frozenset(Binding(each, namespace) for each in wanted)))
    still = tx.referenced(namespace, wanted)
    return [
        msgspec.structs.replace(row, unreferenced_ms=now_ms)
        for binding, row in sorted(known.queues.items())
        if binding.node_id not in still and row.unreferenced_ms is None and row.state not in GONE
    ]
