"""Node and queue rows that classify as plain reuse, cached for one epoch.

A look-up that finds a node here does not read it from the graph again. Only rows are kept from which every
submission reuses the node without any effect. Whatever ends that either raises the epoch (docs/semantics.md 7), or
writes under the node's lock, and a transaction with that lock reads the node again instead of using this cache.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.rows import Binding, NodeRow, QueueRow, QueueState

# Some 2 kB a node with its queue: 100 MB at most.
NODES_MAX: Final = 50_000
ReusableRows = tuple[NodeRow, QueueRow]


class ReusableNodes:
    """Rows of one epoch, at most `nodes_max`, the oldest dropped first. Safe between threads."""

    def __init__(self, nodes_max: int = NODES_MAX) -> None:
        """Start empty."""
        self._nodes_max = nodes_max
        self._lock = threading.Lock()
        # Epoch and rows are replaced together: a reader that took the pair keeps a consistent one without a lock.
        self._cached = (0, self._empty())

    def get(self, wanted: Iterable[Binding], epoch: int) -> dict[Binding, ReusableRows]:
        """The cached rows of these bindings; none at another epoch than that of the cache."""
        cached_epoch, rows = self._cached
        return rows.get_many(wanted) if epoch == cached_epoch else {}

    def put(self, known: Known, epoch: int) -> None:
        """Cache what of `known` is reusable; it was read while, or after, the graph was at `epoch`.

        Rows of an older epoch than the cache are ignored; those of a newer one replace the whole cache.
        """
        nodes = known.nodes
        found = {
            binding: (nodes[binding.node_id], queue)
            for binding, queue in known.queues.items()
            if binding.node_id in nodes and _is_reusable(nodes[binding.node_id], queue)
        }
        with self._lock:
            cached_epoch, rows = self._cached
            if epoch < cached_epoch:
                return
            if epoch > cached_epoch:
                rows = self._empty()
            rows.put_many(found, 1)
            self._cached = epoch, rows

    def _empty(self) -> BoundedCache[Binding, ReusableRows]:
        return BoundedCache(self._nodes_max, self._nodes_max)


def with_cached(known: Known, cached: Mapping[Binding, ReusableRows]) -> Known:
    """`known` and the cached rows; a row that was read wins over a cached one."""
    if not cached:
        return known
    nodes = {node.node_id: node for node, _ in cached.values()}
    queues = {binding: queue for binding, (_, queue) in cached.items()}
    nodes.update(known.nodes)
    queues.update(known.queues)
    return msgspec.structs.replace(known, nodes=nodes, queues=queues)


def _is_reusable(node: NodeRow, queue: QueueRow) -> bool:
    """Whether the node is reused as it is, valid until a write: no deadline applies."""
    return (
        queue.state is QueueState.ACTIVE
        and queue.unreferenced_ms is None
        and not queue.binding.safe
        and not node.safe_only
        and node.buffering_since_ms is None
    )
