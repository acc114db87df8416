"""Rows with defaults for all fields that a test does not name, and how to store them in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dagmanager.dag.model import TagQuery
from dagmanager.engine.model.graph_port import Graph, Known, Locks, LookupKeys, NodeUsage, Transaction
from dagmanager.engine.model.rows import (
    Binding,
    ContentRow,
    Member,
    NodeRow,
    OutboxRow,
    OutboxState,
    OutcomeRow,
    QueueRow,
    QueueState,
    Row,
    TopicSpec,
)
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelKey,
    SentinelRow,
    SentinelState,
)
from dagmanager.graph.lock_order import lock_of

TAGS = ("t1", "t2", "t3", "t4")
SPEC = TopicSpec(partitions=1, replication=1, retention_ms=86_400_000)


def node(
    node_id: str,
    *,
    base_name: str = "",
    tags: Sequence[str] = (),
    interval: int = 60,
    depends_on: Sequence[str] = (),
    query: TagQuery | None = None,
    **fields: Any,
) -> NodeRow:
    return NodeRow(
        node_id=node_id,
        node_type="TagQueryNode" if query else "Node",
        interval=interval,
        period=0,
        params_canon="{}",
        dependencies=tuple(depends_on),
        schema_compat_id="s",
        code_hash="c",
        created_ms=0,
        base_name=base_name or f"base-{node_id}",
        topic_type="indicator",
        tags=tuple(tags),
        tag_query=query,
        **fields,
    )


def queue(
    topic: str,
    node_id: str = "n1",
    namespace: str = "",
    *,
    safe: str = "",
    state: QueueState = QueueState.ACTIVE,
    incarnation: int = 1,
    ttl_ms: int = 1_000,
    **fields: Any,
) -> QueueRow:
    return QueueRow(
        topic=topic,
        binding=Binding(node_id, namespace, safe),
        state=state,
        incarnation=incarnation,
        spec=SPEC,
        tag="indicator",
        ttl_ms=ttl_ms,
        created_ms=0,
        **fields,
    )


def content(digest: str, *members: str | tuple[str, Sequence[str]]) -> ContentRow:
    """Members are node ids, or node ids with the tags that this content gives them."""
    pairs = [(member, ()) if isinstance(member, str) else member for member in members]
    return ContentRow(digest, tuple(Member(node_id, "", tuple(tags), node_id) for node_id, tags in pairs))


def sentinel(
    digest: str,
    lineage: str = "line",
    namespace: str = "",
    *,
    version: str = "v1",
    revision: int = 1,
    state: SentinelState = SentinelState.ACTIVE,
    **fields: Any,
) -> SentinelRow:
    return SentinelRow(
        key=SentinelKey(lineage, namespace, version, revision),
        content=digest,
        state=state,
        weight=1.0,
        commit_hash=digest,
        created_ms=0,
        **fields,
    )


def lineage_row(lineage: str = "line", namespace: str = "", at_ms: int = 1) -> LineageRow:
    return LineageRow(LineageKey(lineage, namespace), at_ms)


def holder(strategy_id: str, held: SentinelKey, world: str = "w") -> HolderRow:
    return HolderRow(HolderKey(strategy_id, held.namespace, world), held, "digest", None, 1)


def outcome(claim_id: str, *topics: str) -> OutcomeRow:
    return OutcomeRow(claim_id, b"{}", topics, 1)


def event(stream: str, revision: int, created_ms: int, state: OutboxState = OutboxState.WAITING) -> OutboxRow:
    return OutboxRow(
        event_id=f"{stream}:{revision}:{created_ms}",
        stream=stream,
        revision=revision,
        channel="queue",
        message_key=stream,
        value=b'{"n":1}',
        state=state,
        created_ms=created_ms,
    )


def locks_for(rows: Iterable[Row], asked: Iterable[str] = ()) -> Locks:
    """What writing these rows needs, and asking about these nodes."""
    wanted: dict[str, Any] = {"nodes": set(asked)}
    for row in rows:
        for kind, key in (lock_of(row) or ())[:1]:
            wanted.setdefault(kind, set()).add(key)
    return msgspec.convert({kind: sorted(keys) for kind, keys in wanted.items()}, Locks)


def put(tx: Transaction, rows: Sequence[Row]) -> None:
    tx.lock(locks_for(rows))
    tx.put(rows)


def referenced(tx: Transaction, namespace: str, node_ids: Sequence[str]) -> frozenset[str]:
    tx.lock(Locks(nodes=tuple(sorted(node_ids))))
    return tx.referenced(namespace, node_ids)


def node_usage(tx: Transaction, node_ids: Sequence[str], tags: Iterable[str] = TAGS) -> dict[str, NodeUsage]:
    tx.lock(Locks(nodes=tuple(sorted(node_ids))))
    return dict(tx.node_usage(dict.fromkeys(node_ids, tuple(tags))))


def tags_in_force(
    tx: Transaction, node_ids: Sequence[str], tags: Iterable[str] = TAGS
) -> dict[str, tuple[str, ...]]:
    """Among these tags, of nodes that have some."""
    found = node_usage(tx, node_ids, tags)
    return {
        node_id: tuple(sorted(place.still_assigned))
        for node_id, place in found.items()
        if place.still_assigned
    }


def store(graph: Graph, *rows: Row) -> None:
    graph.transact(lambda tx: put(tx, rows))


def remove(graph: Graph, *rows: Row) -> None:
    def work(tx: Transaction) -> None:
        tx.lock(locks_for(rows))
        tx.delete(rows)

    graph.transact(work)


def now_of(graph: Graph) -> int:
    return graph.known(LookupKeys()).now_ms


def known_bindings(graph: Graph | Transaction, *bindings: Binding) -> Known:
    return graph.known(LookupKeys(bindings=frozenset(bindings)))
