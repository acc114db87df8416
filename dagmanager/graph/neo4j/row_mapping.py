"""Rows as properties: those that docs/operating/neo4j.md documents, those that indexes need, and the encoded row itself.

The property `row` is the whole row, encoded, and the only one that the engine reads: decoding a thousand of them is
several times faster than reading a thousand maps of properties. A property of a passing state (an open claim, a waiting
event) is null otherwise, so that its index holds only rows in that state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from blake3 import blake3

from dagmanager.engine.model.graph_port import HolderInsert
from dagmanager.engine.model.rows import (
    GONE,
    ContentRow,
    CounterRow,
    NodeRow,
    OutboxRow,
    OutboxState,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    TagSetRow,
    fold,
)
from dagmanager.engine.model.version_rows import (
    REFERENCING,
    HolderRow,
    LineageRow,
    SentinelRow,
    SentinelState,
)
from dagmanager.errors import DagManagerError
from dagmanager.graph.neo4j.keys import (
    binding_key,
    clipped,
    holder_key,
    joined,
    lineage_key,
    sentinel_key,
    tag_key,
    tag_set_key,
)

Properties = dict[str, Any]
TAGS_BYTES_MAX: Final = 4_000
_rows: Final = msgspec.msgpack.Decoder(Row)


def decoded(values: Iterable[bytes | None]) -> list[Any]:
    """Rows from the property `row`. None stands for a stub (a node that is only referred to) and is left out.

    `DagManagerError` for bytes that this release cannot decode.
    """
    try:
        return [_rows.decode(value) for value in values if value is not None]
    except msgspec.DecodeError as error:
        msg = f"the graph holds a `row` that cannot be decoded ({error}): another program or a newer release wrote it"
        raise DagManagerError(msg) from error


def key_of(row: Row) -> str:
    """The row's key, as stored in the unique property of its label."""
    match row:
        case NodeRow() | ContentRow():
            return clipped(row.key)
        case LineageRow():
            return lineage_key(row.key)
        case SentinelRow():
            return sentinel_key(row.key)
        case HolderRow():
            return holder_key(row.key)
        case TagSetRow():
            return tag_set_key(row.key)
        case _:
            return clipped(row.key)


def parameters(row: Row) -> Properties:
    """The parameters of a put statement for one row: `key`, properties `p`, and the keys of linked nodes."""
    mapped = _MAPPERS[type(row)](row)
    mapped["p"]["row"] = msgspec.msgpack.encode(row)
    return {"key": key_of(row), **mapped}


def insert_parameters(insert: HolderInsert) -> Properties:
    """The parameters of `writes.ADD_HOLDER`."""
    return {
        "lineage": lineage_key(insert.lineage.key),
        "sentinels": [msgspec.msgpack.encode(row) for row in insert.sentinels],
        "epoch": insert.epoch,
        "lineage_row": parameters(insert.lineage),
        "holder": parameters(insert.holder),
        "outcome": parameters(insert.outcome),
    }


def _node(row: NodeRow) -> Properties:
    dependencies = [clipped(each) for each in dict.fromkeys(row.dependencies)]
    query = row.tag_query
    asks = [tag_key(tag, query.interval) for tag in dict.fromkeys(query.tags)] if query else []
    tags = [] if query else [tag_key(tag, row.interval) for tag in dict.fromkeys(row.tags)]
    artifacts = [
        {"key": joined(each.path, each.checksum), "p": msgspec.to_builtins(each)} for each in row.artifacts
    ]
    return {
        "dependencies": dependencies,
        "asks": asks,
        "tagged": tags,
        "artifacts": artifacts,
        "p": {
            "node_type": row.node_type,
            "interval": row.interval,
            "period": row.period,
            "code_hash": row.code_hash,
            "schema_compat_id": row.schema_compat_id,
            "params_canon": row.params_canon,
            "created_at": row.created_ms,
            "schema_hash": row.schema_hash or None,
            "buffering_since": row.buffering_since_ms,
            "tags": _indexable(row.tags),
            "name": row.name,
            "global": row.global_,
            "base_name": row.base_name,
            "base_folded": fold(row.base_name),
            "links": _digest(dependencies, asks, [each["key"] for each in artifacts]),
            "tag_links": _digest(tags) if tags else None,
        },
    }


def _queue(row: QueueRow) -> Properties:
    claimed = bool(row.claim_id) and row.state is QueueState.PROVISIONING
    return {
        "node_id": clipped(row.binding.node_id),
        "p": {
            "topic_folded": fold(row.topic),
            "created_at": row.created_ms,
            "ttl": row.ttl_ms,
            "retention_ms": row.spec.retention_ms,
            "partitions": row.spec.partitions,
            "tag": row.tag,
            "state": row.state.value,
            "namespace": row.binding.namespace,
            "safe": row.binding.safe,
            "incarnation": row.incarnation,
            "topic_id": row.topic_id or None,
            "unreferenced_at": row.unreferenced_ms,
            "world_id": row.world_id or None,
            "execution_domain": row.execution_domain or None,
            "binding": binding_key(row.binding),
            "open_claim": clipped(row.claim_id) if claimed else None,
            "open_lease": row.lease_until_ms if claimed else None,
            "safe_live": True if row.binding.safe and row.state not in GONE else None,
        },
    }


def _content(row: ContentRow) -> Properties:
    members = [
        {
            "node_id": clipped(member.node_id),
            "p": {"name": member.name, "tags": list(member.tags), "schema_hash": member.schema_hash},
        }
        for member in row.members
    ]
    return {"members": members, "p": {"size": len(members), "links": _digest(members)}}


def _sentinel(row: SentinelRow) -> Properties:
    claimed = bool(row.claim_id) and row.state is SentinelState.PENDING
    introduced = [clipped(each) for each in dict.fromkeys(row.introduced)]
    return {
        "content": clipped(row.content),
        "introduced": introduced,
        "p": {
            "version": row.key.version,
            "revision": row.key.revision,
            "lineage": row.key.lineage,
            "namespace": row.key.namespace,
            "commit_hash": row.commit_hash,
            "created_at": row.created_ms,
            "release_tag": row.key.version,
            "traffic_weight": row.weight,
            "state": row.state.value,
            "sentinel_id": row.sentinel_id,
            "content": clipped(row.content),
            "lineage_key": joined(row.key.lineage, row.key.namespace),
            "ref_namespace": row.key.namespace if row.state in REFERENCING else None,
            "open_claim": clipped(row.claim_id) if claimed else None,
            "open_lease": row.lease_until_ms if claimed else None,
            "links": _digest(row.content, introduced),
        },
    }


def _lineage(row: LineageRow) -> Properties:
    return {
        "p": {
            "lineage": row.key.lineage,
            "namespace": row.key.namespace,
            "last_at": row.last_at_ms,
            "last_partition": row.last_partition,
            "last_position": row.last_position,
        }
    }


def _holder(row: HolderRow) -> Properties:
    return {
        "p": {
            "strategy_id": row.key.strategy_id,
            "namespace": row.key.namespace,
            "world_id": row.key.world_id,
            "last_seen": row.last_seen_ms,
            "sentinel": sentinel_key(row.sentinel),
        }
    }


def _tag_set(row: TagSetRow) -> Properties:
    return {"p": {"tags": list(row.key.tags), "interval": row.key.interval, "revision": row.revision}}


def _outcome(row: OutcomeRow) -> Properties:
    return {"p": {"topics": list(row.topics), "created_at": row.created_ms}}


def _outbox(row: OutboxRow) -> Properties:
    waiting = row.state is OutboxState.WAITING
    return {
        "p": {
            "waiting_ms": row.created_ms if waiting else None,
            "stream": clipped(row.stream),
            "revision": row.revision,
        }
    }


def _counter(row: CounterRow) -> Properties:
    return {"p": {"value": row.value}}


_MAPPERS: Final[dict[type[Any], Callable[[Any], Properties]]] = {
    NodeRow: _node,
    QueueRow: _queue,
    ContentRow: _content,
    SentinelRow: _sentinel,
    LineageRow: _lineage,
    HolderRow: _holder,
    TagSetRow: _tag_set,
    OutcomeRow: _outcome,
    OutboxRow: _outbox,
    CounterRow: _counter,
}


def _indexable(tags: tuple[str, ...]) -> list[str]:
    """The first tags, up to what the index `compute_tags` can take. Our own queries use `TagOf`, which has all."""
    bytes_left = TAGS_BYTES_MAX
    for count, tag in enumerate(tags):
        bytes_left -= len(tag.encode())
        if bytes_left < 0:
            return list(tags[:count])
    return list(tags)


def _digest(*parts: object) -> str:
    """A short hash of what a row links to. While it is unchanged, a put touches no relationship."""
    return blake3(msgspec.msgpack.encode(parts)).hexdigest(length=8)
