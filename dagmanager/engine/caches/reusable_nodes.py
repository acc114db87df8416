"""Nodes that run as they are: what one look-up gave serves the next ones, as long as the epoch stays.

Kept are only rows from which every node is reused without a further word; whatever ends that raises
the epoch (docs/semantics.md 7), or writes under the node's lock and so reads again first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.rows import Binding, NodeRow, QueueRow, QueueState

KEPT_NODES: Final = 50_000
ReusableRows = tuple[NodeRow, QueueRow]


class ReusableNodes:
    """Of one epoch, bounded, the oldest goes first. Safe between threads."""

    def __init__(self, nodes_max: int = KEPT_NODES) -> None:
        """Empty."""
        self._nodes_max = nodes_max
        self._epoch = 0
        self._kept: dict[Binding, ReusableRows] = {}
        self._lock = threading.Lock()

    def of(self, wanted: Iterable[Binding], epoch: int) -> dict[Binding, ReusableRows]:
        """Those of these that are kept; none at another epoch."""
        with self._lock:
            if epoch != self._epoch:
                return {}
            kept = self._kept
            return {binding: found for binding in wanted if (found := kept.get(binding)) is not None}

    def keep(self, known: Known, epoch: int) -> None:
        """Keep what was read when, or after, this was the epoch; what an older one left is forgotten."""
        nodes = known.nodes
        fresh = {
            binding: (nodes[binding.node_id], queue)
            for binding, queue in known.queues.items()
            if binding.node_id in nodes and _runs_as_it_is(nodes[binding.node_id], queue)
        }
        with self._lock:
            if epoch < self._epoch:
                return
            if epoch > self._epoch:
                self._epoch, self._kept = epoch, {}
            self._kept.update(fresh)
            while len(self._kept) > self._nodes_max:
                del self._kept[next(iter(self._kept))]


def with_cached(known: Known, kept: Mapping[Binding, ReusableRows]) -> Known:
    """What was read, and what was kept."""
    if not kept:
        return known
    nodes = {node.node_id: node for node, _ in kept.values()}
    queues = {binding: queue for binding, (_, queue) in kept.items()}
    nodes.update(known.nodes)
    queues.update(known.queues)
    return msgspec.structs.replace(known, nodes=nodes, queues=queues)


def _runs_as_it_is(node: NodeRow, queue: QueueRow) -> bool:
    return (
        queue.state is QueueState.ACTIVE
        and queue.unreferenced_ms is None
        and not queue.binding.safe
        and not node.safe_only
        and node.buffering_since_ms is None
    )
