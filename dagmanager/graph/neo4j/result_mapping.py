"""What a Neo4j server answers, as rows: the questions that are asked inside a transaction and outside of one."""

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
from dagmanager.engine.model.rows import Binding, LineageKey, NodeRow, OutboxRow, QueueRow, SentinelRow
from dagmanager.graph.neo4j import reads
from dagmanager.graph.neo4j.keys import binding_key, clipped, holder_key, lineage_key, tag_key
from dagmanager.graph.neo4j.row_mapping import decoded
from dagmanager.graph.neo4j.writes import Run


def known(run: Run, keys: LookupKeys) -> Known:
    """The answer to a micro-batch in one statement; each row as committed when it was read."""
    bindings = sorted(keys.bindings)
    found = run(
        reads.KNOWN,
        {
            "nodes": list(dict.fromkeys(clipped(each.node_id) for each in bindings)),
            "bindings": [binding_key(each) for each in bindings],
            "lineages": [lineage_key(each) for each in sorted(keys.lineages)],
            "holders": [holder_key(each) for each in sorted(keys.holders)],
            "outcomes": [clipped(each) for each in sorted(keys.outcomes)],
            "safe": [True] if any(each.safe for each in bindings) else [],  # counted only then
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
    """What is provisioning and pending under this claim, and the server's clock."""
    found = run(reads.CLAIMS, {"claim": clipped(claim_id)})[0]
    queues: list[QueueRow] = decoded(found["queues"])
    sentinels: list[SentinelRow] = decoded(found["sentinels"])
    return OpenClaim(
        tuple(sorted(queues, key=lambda row: row.topic)),
        tuple(sorted(sentinels, key=lambda row: row.key)),
        _by_lineage(decoded(found["versions"])),
    ), found["now"]


def tagged(run: Run, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
    """The queues behind each tag query, sorted by topic."""
    given = [_tag_ask(at, each) for at, each in enumerate(asked) if each.tags]
    found = {row["at"]: row["found"] for row in run(reads.TAGGED, {"asked": given})} if given else {}
    return tuple(_tagged_queues(found.get(at, ())) for at in range(len(asked)))


def _tag_ask(at: int, asked: TagQuestion) -> dict[str, Any]:
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
    """Node rows with what is in force of their tags and their current shared queues."""
    given = [{"id": clipped(node_id), "tags": list(tags)} for node_id, tags in sorted(asked.items())]
    found = run(reads.NODE_USAGE, {"doubtful": given})
    rows: list[NodeRow] = decoded(each["node"] for each in found)
    return {
        row.key: NodeUsage(row, frozenset(each["kept"]), tuple(_by_binding(decoded(each["queues"]))))
        for row, each in zip(rows, found, strict=True)
    }


def with_queues(found: Mapping[str, NodeUsage], written: Iterable[QueueRow]) -> dict[str, NodeUsage]:
    """The same as if these queues had been written before."""
    told = dict(found)
    for row in written:
        place = told.get(row.binding.node_id)
        if place is not None and not row.binding.safe:
            others = [each for each in place.queues if each.topic != row.topic]
            told[row.binding.node_id] = replace(place, queues=tuple(_by_binding([*others, row])))
    return told


def _by_binding(queues: Iterable[QueueRow]) -> Iterable[QueueRow]:
    return (row for _, row in sorted(current(queues).items()))


def waiting_events(run: Run, limit: int) -> tuple[OutboxRow, ...]:
    """The first `limit` events to publish."""
    if limit <= 0:
        return ()
    return tuple(decoded(row["row"] for row in run(reads.WAITING_EVENTS, {"limit": limit})))


def current(queues: Iterable[QueueRow]) -> dict[Binding, QueueRow]:
    """Of each binding the queue of the highest incarnation."""
    found: dict[Binding, QueueRow] = {}
    for row in queues:
        other = found.get(row.binding)
        if other is None or (row.incarnation, row.topic) > (other.incarnation, other.topic):
            found[row.binding] = row
    return found
