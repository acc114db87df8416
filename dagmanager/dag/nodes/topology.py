"""Dependencies between the nodes of one DAG: external ones and cycles, in O(nodes + edges) (docs/requirements.md F2)."""

from __future__ import annotations

from collections.abc import Sequence

from dagmanager.dag.model import Node


def external_dependencies(nodes: Sequence[Node]) -> tuple[dict[str, list[str]], bool]:
    """Per node id its dependencies that are not in the DAG; and whether a cycle is possible.

    Each node once. A cycle is impossible when every node comes after those that it depends on.
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
    """The ids of one cycle, each depending on the next and the last on the first; empty if there is none.

    Depth-first in submission order, so that a DAG always gives the same cycle. Not recursive: a chain of 20,000 nodes
    would exceed Python's stack.
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
