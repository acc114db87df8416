"""Which nodes a queue may not be deleted of (docs/semantics.md 7, Deletion). For the collector, which does not exist yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dagmanager.engine.model.graph_port import Transaction


def dependents_to_lock(tx: Transaction, node_ids: Iterable[str]) -> frozenset[str]:
    """These nodes and every node that depends on one of them, over any number of steps.

    Blocks for one round trip per step. What is found may be old: lock it, and find the same again under the locks.
    """
    found = frozenset(node_ids)
    return found.union(_dependents(tx, found))


def reachable(tx: Transaction, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
    """Those of these nodes that a referencing content of the namespace has, or needs over any number of dependencies.

    All of `dependents_to_lock` must be locked: a version that comes to reference a dependent locks it, and so does a new
    node that depends on one of these nodes. Blocks for one round trip per step, and one more.
    """
    wanted = frozenset(node_ids)
    edges = _dependents(tx, wanted)
    kept = tx.referenced(namespace, wanted.union(edges))
    return frozenset(node_id for node_id in wanted if _leads_to(node_id, edges, kept))


def _dependents(tx: Transaction, start: frozenset[str]) -> dict[str, frozenset[str]]:
    """The direct dependents of every node that is reached from `start` against the dependencies."""
    edges: dict[str, frozenset[str]] = {}
    frontier = start
    while frontier:
        # A node without dependents gets an entry, too: an entry is what keeps the walk from asking for a node again.
        found = tx.dependents(frontier)
        edges |= {node_id: found.get(node_id, frozenset()) for node_id in frontier}
        frontier = frozenset[str]().union(*found.values()).difference(edges)
    return edges


def _leads_to(start: str, edges: Mapping[str, frozenset[str]], kept: frozenset[str]) -> bool:
    # A loop, not a recursion: a chain of dependencies may be longer than Python's stack.
    seen, waiting = {start}, [start]
    while waiting:
        node_id = waiting.pop()
        if node_id in kept:
            return True
        more = edges.get(node_id, frozenset()).difference(seen)
        seen |= more
        waiting.extend(more)
    return False
