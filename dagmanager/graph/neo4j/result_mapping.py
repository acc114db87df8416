"""Results of a Neo4j server as rows, for the queries that run inside a transaction and outside of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from dagmanager.engine.model.graph_port import (
    Known,
    LookupKeys,
    NodeUsage,
    OpenClaim,
    TaggedQueue,
    TagQuestion,
)
from dagmanager.engine.model.rows import Binding, NodeRow, OutboxRow, QueueRow
from dagmanager.engine.model.version_rows import LineageKey, SentinelRow
from dagmanager.graph.neo4j import reads
from dagmanager.graph.neo4j.keys import binding_key, clipped, holder_key, lineage_key, tag_key
from dagmanager.graph.neo4j.row_mapping import decoded
from dagmanager.graph.neo4j.writes import Run


def known(run: Run, keys: LookupKeys) -> Known:
    """All rows that a micro-batch needs, in one statement; each row as committed when it was read."""
    bindings = sorted(keys.bindings)
    found = run(
        reads.KNOWN,
        {
            "nodes": list(
                dict.fromkeys(map(clipped, (*(each.node_id for each in bindings), *sorted(keys.nodes))))
            ),
            "bindings": [binding_key(each) for each in bindings],
            "lineages": [lineage_key(each) for each in sorted(keys.lineages)],
            "holders": [holder_key(each) for each in sorted(keys.holders)],
            "outcomes": [clipped(each) for each in sorted(keys.outcomes)],
            "safe": [True]
            if any(each.safe for each in bindings)
            else [],  # counted only where one is asked for
        },
    )[0]
    return Known(
        nodes={row.key: row for row in decoded(found["nodes"])},
        queues=current(decoded(found["queues"])),
        lineages={row.key: row for row in decoded(found["lineages"])},
        sentinels=_by_lineage(decoded(found["sentinels"])),
        holders={row.key: row for row in decoded(found["holders"])},
        outcomes={row.key: row for row in decoded(found["outcomes"])},
        outcome_queues={row.key: row for row in decoded(found["outcome_queues"])},
        epoch=next(iter(found["epoch"]), None) or 0,
        safe_topics=found["safe_topics"],
        now_ms=found["now"],
    )


def _by_lineage(sentinels: Iterable[SentinelRow]) -> dict[LineageKey, tuple[SentinelRow, ...]]:
    found: dict[LineageKey, list[SentinelRow]] = {}
    for row in sentinels:
        found.setdefault(LineageKey(row.key.lineage, row.key.namespace), []).append(row)
    return {
        key: tuple(sorted(rows, key=lambda row: (row.key.version, row.key.revision)))
        for key, rows in found.items()
    }


def open_claim(run: Run, claim_id: str) -> tuple[OpenClaim, int]:
    """The provisioning queues and pending sentinels of this claim, and the server's clock in milliseconds."""
    found = run(reads.CLAIMS, {"claim": clipped(claim_id)})[0]
    queues: list[QueueRow] = decoded(found["queues"])
    sentinels: list[SentinelRow] = decoded(found["sentinels"])
    return OpenClaim(
        tuple(sorted(queues, key=lambda row: row.topic)),
        tuple(sorted(sentinels, key=lambda row: row.key)),
        _by_lineage(decoded(found["versions"])),
    ), found["now"]


def tagged(run: Run, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
    """The queues that each tag query resolves to, in the order given, each sorted by topic.

    `ValueError` for another match mode than `any` and `all`.
    """
    questions = [_tag_parameters(at, each) for at, each in enumerate(asked) if each.tags]
    found = {row["at"]: row["found"] for row in run(reads.TAGGED, {"asked": questions})} if questions else {}
    return tuple(_tagged_queues(found.get(at, ())) for at in range(len(asked)))


def _tag_parameters(at: int, asked: TagQuestion) -> dict[str, Any]:
    if asked.match_mode not in {"any", "all"}:
        msg = f"match_mode is any or all, not {asked.match_mode!r}"
        raise ValueError(msg)
    keys = sorted({tag_key(tag, asked.interval) for tag in asked.tags})
    need = len(keys) if asked.match_mode == "all" else 1
    return {"at": at, "keys": keys, "need": need, "namespace": asked.namespace}


def _tagged_queues(found: Sequence[tuple[str, bytes]]) -> tuple[TaggedQueue, ...]:
    nodes = decoded(row for _, row in found)
    queues = (
        TaggedQueue(topic, node.global_, node.tags) for (topic, _), node in zip(found, nodes, strict=True)
    )
    return tuple(sorted(queues, key=lambda each: each.topic))


def node_usage(run: Run, asked: Mapping[str, Iterable[str]]) -> dict[str, NodeUsage]:
    """Nodes with those of the given tags that are still assigned, and their current shared queues; by id."""
    candidates = [{"id": clipped(node_id), "tags": list(tags)} for node_id, tags in sorted(asked.items())]
    found = run(reads.NODE_USAGE, {"candidates": candidates})
    rows: list[NodeRow] = decoded(each["node"] for each in found)
    return {
        row.key: NodeUsage(row, frozenset(each["kept"]), tuple(_by_binding(decoded(each["queues"]))))
        for row, each in zip(rows, found, strict=True)
    }


def with_queues(found: Mapping[str, NodeUsage], written: Iterable[QueueRow]) -> dict[str, NodeUsage]:
    """Overlay unsent queue rows on rows read from the server: the result as if they had been sent before."""
    merged = dict(found)
    for row in written:
        usage = merged.get(row.binding.node_id)
        if usage is not None and not row.binding.safe:
            others = [each for each in usage.queues if each.topic != row.topic]
            merged[row.binding.node_id] = replace(usage, queues=tuple(_by_binding([*others, row])))
    return merged


def _by_binding(queues: Iterable[QueueRow]) -> Iterable[QueueRow]:
    return (row for _, row in sorted(current(queues).items()))


def waiting_events(run: Run, limit: int) -> tuple[OutboxRow, ...]:
    """The first `limit` outbox rows to publish, in order."""
    if limit <= 0:
        return ()
    return tuple(decoded(row["row"] for row in run(reads.WAITING_EVENTS, {"limit": limit})))


def current(queues: Iterable[QueueRow]) -> dict[Binding, QueueRow]:
    """The queue with the highest incarnation of each binding."""
    found: dict[Binding, QueueRow] = {}
    for row in queues:
        other = found.get(row.binding)
        if other is None or (row.incarnation, row.topic) > (other.incarnation, other.topic):
            found[row.binding] = row
    return found
