"""What a submission says of a known node beside its spec: artifacts, the `global` flag, the name (docs/semantics.md 3,
Attributes); and the warnings about known nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dagmanager.dag.model import Artifact, Node, Notice
from dagmanager.engine.model.rows import NodeRow, QueueRow
from dagmanager.errors import NoticeCode

# An answer must fit into a record, however many nodes a DAG has.
DETAILS_MAX = 100


def brings(node: Node, row: NodeRow) -> str:
    """What of the node is not stored yet: `artifacts`, `global`, both joined by `, `, or ``."""
    stored = {_key(each) for each in row.artifacts}
    new = (
        "artifacts" * any(_key(each) not in stored for each in node.artifacts),
        "global" * (node.global_ and not row.global_),
    )
    return ", ".join(filter(None, new))


def merged(row: NodeRow, node: Node) -> NodeRow:
    """The row with the artifacts of both, by path and checksum, and `global` if one of them has it.

    The order of submissions does not matter.
    """
    if not brings(node, row):
        return row
    # Where both have the key, the stored one stays: earlier answers and the graph's artifacts show it.
    artifacts = {_key(each): each for each in (*node.artifacts, *row.artifacts)}
    return msgspec.structs.replace(
        row,
        artifacts=tuple(artifacts[key] for key in sorted(artifacts)),
        global_=row.global_ or node.global_,
    )


def brought_notice(brought: Sequence[tuple[str, str]]) -> tuple[Notice, ...]:
    """The warning for nodes (id, what they brought) that differed from the graph; none without nodes."""
    if not brought:
        return ()
    count = len(brought)
    message = f"{count} known nodes came with artifacts or a global flag that the graph did not have: it has both now"
    details = tuple(f"{node_id}: {what}" for node_id, what in brought[:DETAILS_MAX])
    return (Notice(NoticeCode.NODE_ATTRIBUTES_DIFFER, message, brought[0][0], details),)


def drift_notice(queues: Sequence[QueueRow]) -> tuple[Notice, ...]:
    """The warning for reused queues whose topic was changed at the broker; none without queues."""
    if not queues:
        return ()
    first = queues[0]
    message = (
        f"{len(queues)} reused topics were changed at the broker, the first is {first.topic}: {first.drift}"
    )
    details = tuple(f"{row.topic}: {row.drift}" for row in queues[:DETAILS_MAX])
    return (Notice(NoticeCode.TOPIC_SETTINGS_DIFFER, message, first.binding.node_id, details),)


def renamed_notice(
    nodes: Sequence[Node], rows: Mapping[str, NodeRow], names_before: Mapping[str, str]
) -> tuple[Notice, ...]:
    """The warning for nodes to which another version gave another name.

    `names_before` are the names that the version in force of the own lineage gives: to change these is no disagreement.
    """
    found = [
        (node.node_id, row.name, node.name)
        for node in nodes
        if (row := rows.get(node.node_id)) is not None
        and not row.is_provisional
        and node.name not in ("", row.name)
        and row.name not in ("", names_before.get(node.node_id))
    ]
    if not found:
        return ()
    message = (
        f"{len(found)} known nodes have another name in the graph: the version in force last gives the name"
    )
    details = tuple(f"{node_id}: {old!r} in the graph, {new!r} sent" for node_id, old, new in found)
    return (Notice(NoticeCode.NODE_ATTRIBUTES_DIFFER, message, found[0][0], details[:DETAILS_MAX]),)


def _key(artifact: Artifact) -> tuple[str, str]:
    return artifact.path, artifact.checksum
