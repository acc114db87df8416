"""Builders of submissions: nodes with right ids, records of both forms, and all pure steps in one call."""

from __future__ import annotations

import json
from typing import Any

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import CanonicalDag, Dag, Envelope, Origin, Record
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.record.decode import decode
from dagmanager.errors import Rejection
from tests.dag import naive

LIMITS = Limits()
TOPIC = Origin("submissions", "topic-id", 0, 7)


def node(**fields: Any) -> dict[str, Any]:
    """A node with its right id, computed by the naive twin, unless `node_id` is given."""
    made: dict[str, Any] = {
        "node_type": "Node",
        "interval": 60,
        "period": 5,
        "params": {"window": 3},
        "inputs": [],
        "dependencies": [],
        "code_hash": "c0de",
        "schema_compat_id": "s1",
        "schema_hash": "5ca1",
        "name": "n",
        "tags": ["btc"],
    } | fields
    return {"node_id": naive.id_of(naive.preimage_of(made))} | made


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def dag(*nodes: Any, **fields: Any) -> dict[str, Any]:
    return {"schema_version": "v1", "nodes": list(nodes), **fields}


def request(tree: Any, **fields: Any) -> Record:
    """A diff request with `dag` as an object."""
    value = {"strategy_id": "s", "dag": tree} | fields
    return Record(json.dumps(value, ensure_ascii=False).encode(), TOPIC, b"s", 1_000)


def raw_request(text: bytes) -> Record:
    """A diff request with a DAG as exactly these bytes."""
    return Record(b'{"strategy_id":"s","dag":' + text + b"}", TOPIC, b"s", 1_000)


def enveloped(record: Record, limits: Limits = LIMITS) -> Envelope:
    found = decode(record, limits)
    assert isinstance(found, Envelope), found
    return found


def canonical(
    record: Record, limits: Limits = LIMITS, memo: NodeMemo | None = None
) -> CanonicalDag | Rejection:
    found = decode(record, limits)
    if isinstance(found, Rejection):
        return found
    assert isinstance(found, Envelope), found
    return canonicalize(found, NodeMemo() if memo is None else memo, limits)


def accepted(record: Record, limits: Limits = LIMITS, memo: NodeMemo | None = None) -> Dag:
    found = hashed(record, limits, memo)
    assert isinstance(found, Dag), found
    return found


def hashed(record: Record, limits: Limits = LIMITS, memo: NodeMemo | None = None) -> Dag | Rejection:
    memo = NodeMemo() if memo is None else memo
    found = canonical(record, limits, memo)
    if isinstance(found, Rejection):
        return found
    return hash_dag(found, memo, enveloped(record, limits).node_ids_crc32)


def refused(record: Record, limits: Limits = LIMITS) -> Rejection:
    found = hashed(record, limits)
    assert isinstance(found, Rejection), found
    return found
