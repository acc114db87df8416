"""Proving ids: each new node is hashed and compared with the id it was submitted under (docs/requirements.md M4, M6)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3

from dagmanager.dag.field_errors import DETAILS_MAX
from dagmanager.dag.model import CanonicalDag, Dag, Node
from dagmanager.dag.nodes.content import attributes_digest, content_digest
from dagmanager.dag.nodes.node_fields import ID_PREFIX
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.errors import ErrorCode, Rejection, fault_counts

# Collision forms of a spec that a submitted id is compared with.
COLLISIONS_MAX: Final = 8
_PLAIN_LENGTH: Final = len(ID_PREFIX) + 64


def node_id(preimage: bytes) -> str:
    """`blake3:` and 64 hex digits: the id of a spec (docs/contract.md, NodeID)."""
    return ID_PREFIX + blake3(preimage).hexdigest()


def collision_id(preimage: bytes, n: int) -> str:
    """The `n`-th id (from 1) of a spec whose plain id collides with another: 128 hex digits of XOF output."""
    return ID_PREFIX + blake3(preimage + b"|collision:%d" % n).hexdigest(length=64)


def crc32(ids: Iterable[str]) -> int:
    """The checksum of node ids in submission order, repeats included (docs/contract.md, Checksum)."""
    return zlib.crc32("".join(ids).encode())


def collision_of(node: Node) -> int | None:
    """Which form the node's id has: 0 the plain id, 1-8 an XOF form, None not an id of this spec."""
    if len(node.node_id) <= _PLAIN_LENGTH:
        return 0 if node.node_id == node_id(node.preimage) else None
    rounds = range(1, COLLISIONS_MAX + 1)
    return next((n for n in rounds if node.node_id == collision_id(node.preimage, n)), None)


def hash_dag(dag: CanonicalDag, memo: NodeMemo, declared_crc32: int | None) -> Dag | Rejection:
    """Prove the ids of the DAG's new nodes, check the client's checksum, remember what was proven.

    Refuses with `node_id_mismatch` (every one in `details`, first 100) or `crc_mismatch`.
    """
    nodes = dag.nodes
    collided: dict[str, int] = {}
    wrong_nodes: list[Node] = []
    for position in dag.fresh:
        node = nodes[position]
        # `node_id` inline: this line is most of the cost of a new DAG here.
        if node.node_id != "blake3:" + blake3(node.preimage).hexdigest():
            collision = collision_of(node)
            if collision is None:
                wrong_nodes.append(node)
            else:
                collided[node.node_id] = collision
    if wrong_nodes:
        return mismatch(wrong_nodes, pointers(dag.submitted_ids, dag.sentinel_positions))
    checksum = crc32(dag.submitted_ids)
    if declared_crc32 is not None and declared_crc32 != checksum:
        message = (
            f"node_ids_crc32 is {declared_crc32}, the ids of this DAG give {checksum}: "
            "ids were changed, left out or put in another order on the way"
        )
        return Rejection(
            ErrorCode.CRC_MISMATCH,
            message,
            "/node_ids_crc32",
            expected=str(checksum),
            got=str(declared_crc32),
        )
    proven = dag.unproven
    if collided:
        nodes = tuple(_with_collision(node, collided) for node in nodes)
        proven = tuple((raw, _with_collision(node, collided)) for raw, node in proven)
    memo.put_many(proven)
    return Dag(
        nodes=nodes,
        submitted_ids=dag.submitted_ids,
        version=dag.version,
        weight=dag.weight,
        lineage=dag.lineage,
        commit_hash=dag.commit_hash,
        meta_namespace=dag.meta_namespace,
        meta_domain=dag.meta_domain,
        dag_context=dag.dag_context,
        external=dag.external,
        warnings=dag.warnings,
        content_digest=content_digest(nodes),
        attributes=attributes_digest(nodes),
        crc32=checksum,
    )


def _with_collision(node: Node, collided: dict[str, int]) -> Node:
    if node.node_id not in collided:
        return node
    return msgspec.structs.replace(node, collision=collided[node.node_id])


def pointers(submitted_ids: Sequence[str], sentinel_positions: Sequence[int]) -> dict[str, str]:
    """The first occurrence of each id in the submitted list, as a JSON pointer (`/nodes/3`)."""
    sentinels = set(sentinel_positions)
    found: dict[str, str] = {}
    position = -1
    for submitted in submitted_ids:
        position += 1
        while position in sentinels:
            position += 1
        found.setdefault(submitted, f"/nodes/{position}")
    return found


def mismatch(nodes: list[Node], pointers: dict[str, str]) -> Rejection:
    """`node_id_mismatch` for nodes whose id is not the id of their spec; the first 100 in `details`."""
    details: list[dict[str, Any]] = [
        {
            "field": f"{pointers.get(node.node_id, '')}/node_id",
            "node_id": node.node_id,
            "expected": node_id(node.preimage),
            "got": node.node_id,
            "node_type": node.node_type,
            "name": node.name,
        }
        for node in nodes[:DETAILS_MAX]
    ]
    first = details[0]
    more = f" ({len(nodes)} nodes in all)" if len(nodes) > 1 else ""
    message = (
        f"{first['field']}: {first['got']} is not the id of this spec, which is {first['expected']}{more}"
    )
    return Rejection(
        ErrorCode.NODE_ID_MISMATCH,
        message,
        first["field"],
        first["node_id"],
        first["expected"],
        first["got"],
        tuple(details),
        fault_counts((ErrorCode.NODE_ID_MISMATCH, "node_id", node.node_type) for node in nodes),
    )
