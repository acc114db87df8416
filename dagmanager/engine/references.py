"""Which queues a version change frees or takes up again (decisions 6).

A queue is referenced while the content of a pending, active or parked sentinel of its namespace
contains its node, or a node that depends on it. Only the first reference and the last one write.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dagmanager.engine.ports import Known, LookupKeys, Transaction
from dagmanager.engine.rows import GONE, Binding, QueueRow


def content_bindings(tx: Transaction, digests: Iterable[str], namespace: str) -> tuple[Binding, ...]:
    """Bindings of these contents' nodes and of what they depend on, sorted."""
    members: set[str] = set()
    for digest in sorted(set(digests)):
        content = tx.content(digest)
        if content is not None:
            members.update(member.node_id for member in content.members)
    known = tx.known(LookupKeys(bindings=frozenset(Binding(n, namespace) for n in members)))
    for row in known.nodes.values():
        members.update(row.dependencies)
    return tuple(sorted(Binding(n, namespace) for n in members))


def taken_up(known: Known, wanted: Iterable[Binding]) -> list[QueueRow]:
    """Queue rows whose `unreferenced_ms` must be cleared because something references them again; tombstones stay."""
    rows = (known.queues.get(binding) for binding in wanted)
    return [
        msgspec.structs.replace(row, unreferenced_ms=None)
        for row in rows
        if row is not None and row.unreferenced_ms is not None and row.state not in GONE
    ]


def set_free(tx: Transaction, wanted: Iterable[Binding], namespace: str, now_ms: int) -> list[QueueRow]:
    """Queue rows that nothing references any more, marked with the moment."""
    wanted = tuple(wanted)
    known = tx.known(LookupKeys(bindings=frozenset(wanted)))
    still = tx.referenced(namespace, [binding.node_id for binding in wanted])
    return [
        msgspec.structs.replace(row, unreferenced_ms=now_ms)
        for binding, row in sorted(known.queues.items())
        if binding.node_id not in still and row.unreferenced_ms is None and row.state not in GONE
    ]
