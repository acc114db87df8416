"""How the nodes of one DAG hang together: outside dependencies and cycles, in O(nodes + edges) (F2)."""

from __future__ import annotations

from collections.abc import Sequence

from dagmanager.dag.model import Node


def external_dependencies(nodes: Sequence[Node]) -> tuple[dict[str, list[str]], bool]:
    """Dependencies that are not in the DAG, by the id that names them; and whether a cycle is possible.

    Each node once. No cycle is possible when every node stands after those it depends on.
    """
    ids = {node.node_id for node in nodes}
    seen: set[str] = set()
    missing: dict[str, list[str]] = {}
    forward = False
    for node in nodes:
        for dependency in node.dependencies:
            if dependency not in seen:
                if dependency in ids:
                    forward = True
                elif dependency not in (named := missing.setdefault(node.node_id, [])):
                    named.append(dependency)
        seen.add(node.node_id)
    return missing, forward


def find_cycle(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The ids of one cycle, each depending on the next and the last on the first; empty when there is none.

    Depth-first without recursion, in submission order: the same DAG names the same cycle.
    """
    by_id = {node.node_id: node for node in nodes}
    done: set[str] = set()
    for start, first in by_id.items():
        if start in done:
            continue
        path: list[str] = [start]
        on_path = {start}
        pending = [iter(first.dependencies)]
        while pending:
            for dependency in pending[-1]:
                if dependency in on_path:
                    return tuple(path[path.index(dependency) :])
                if dependency in by_id and dependency not in done:
                    path.append(dependency)
                    on_path.add(dependency)
                    pending.append(iter(by_id[dependency].dependencies))
                    break
            else:
                pending.pop()
                left = path.pop()
                on_path.discard(left)
                done.add(left)
    return ()
