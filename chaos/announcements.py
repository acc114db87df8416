"""Audits control events as the Gateway receives them: it drops an event that repeats the last etag of a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from chaos.evidence import AnnouncedEvent, TagSet, tag_set_of
from chaos.findings import AuditFinding, Violation
from dagmanager.engine.model.version_rows import SentinelRow

WEIGHT_SLACK: Final = 1e-6


class WeightKey(NamedTuple):
    """What a weight belongs to: contents with the same version label share it."""

    sentinel_id: str
    version: str
    scope: str


def event_violations(
    events: Sequence[AnnouncedEvent],
    tagged: Mapping[TagSet, tuple[str, ...]],
    weights: Mapping[WeightKey, float],
) -> Iterable[AuditFinding]:
    """Checks: one content per event id; revisions of a stream grow, only its last event may repeat; the last is true."""
    contents: dict[str, bytes] = {}
    newest: dict[str, int] = {}
    last: dict[str, Mapping[str, Any]] = {}
    weighed: dict[WeightKey, float] = {}
    for event in events:
        envelope = orjson.loads(event.value)
        data = envelope["data"]
        is_repeat = envelope["id"] in contents
        before = contents.setdefault(envelope["id"], event.value)
        if before != event.value:
            yield AuditFinding(Violation.TWO_CONTENTS, envelope["id"])
        stream = stream_of(data)
        if not stream:
            continue
        if data["revision"] < newest.get(stream, 0) + (not is_repeat):
            yield AuditFinding(Violation.OUT_OF_ORDER, f"{envelope['id']} after revision {newest[stream]}")
        newest[stream] = max(newest.get(stream, 0), data["revision"])
        last[stream] = data
        if data["type"] == "SentinelWeightUpdated":
            weighed[WeightKey(data["sentinel_id"], data["sentinel_version"], _scope(data))] = data["weight"]
    yield from _weight_violations(last.values(), weighed, weights)
    for stream, data in last.items():
        if data["revision"] != newest[stream]:
            yield AuditFinding(
                Violation.OUT_OF_ORDER, f"{stream} ends with {data['revision']}, not {newest[stream]}"
            )
        about = tag_set_of(data)
        if about is not None and about in tagged:
            announced = {each["queue"] for each in data["queues"]}
            if announced != set(tagged[about]):
                yield AuditFinding(
                    Violation.WRONG_QUEUES, f"{about}: {sorted(announced ^ set(tagged[about]))}"
                )


def _weight_violations(
    last: Iterable[Mapping[str, Any]], weighed: Mapping[WeightKey, float], weights: Mapping[WeightKey, float]
) -> Iterable[AuditFinding]:
    """Each version ends with its weight; a client that keeps only the newest event of an id is left with a version in force."""
    judged = {(each.sentinel_id, each.scope) for each in weights}
    received = {each for each in weighed if (each.sentinel_id, each.scope) in judged}
    for version in sorted(weights.keys() | received):
        announced, true = weighed.get(version, 0.0), weights.get(version, 0.0)
        if abs(announced - true) > WEIGHT_SLACK:
            yield AuditFinding(Violation.WRONG_WEIGHT, f"{version}: announced {announced}, it is {true}")
    in_force = {(each.sentinel_id, each.scope) for each, weight in weights.items() if weight}
    for data in last:
        is_end = data["type"] == "SentinelWeightUpdated" and not data["weight"]
        if is_end and (data["sentinel_id"], _scope(data)) in in_force:
            yield AuditFinding(Violation.WRONG_WEIGHT, f"{data['sentinel_id']}: 0.0 is its last word")


def weights_of(rows: Iterable[object]) -> dict[WeightKey, float]:
    """The weights in the graph, of ids with one lineage only: weight events do not name the lineage."""
    sentinels = [row for row in rows if isinstance(row, SentinelRow)]
    lineages: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in sentinels:
        lineages[row.sentinel_id, _scope_of(row)].add(row.key.lineage)
    found: dict[WeightKey, float] = defaultdict(float)
    for row in sentinels:
        if len(lineages[row.sentinel_id, _scope_of(row)]) == 1:
            found[WeightKey(row.sentinel_id, row.key.version, _scope_of(row))] += row.weight
    return dict(found)


def _scope_of(row: SentinelRow) -> str:
    return f"{row.world_id}:{row.execution_domain}" if row.key.namespace else ":"


def repeats(events: Sequence[AnnouncedEvent]) -> tuple[int, int]:
    """The number of repeated records, and of those that the Gateway would not recognize as repeats."""
    seen: set[bytes] = set()
    etags: dict[tuple[str, bytes], str] = {}
    again = shown = 0
    for event in events:
        etag = orjson.loads(event.value)["data"]["etag"]
        key = (event.topic, event.key)
        if event.value in seen:
            again += 1
            shown += etags.get(key) != etag
        seen.add(event.value)
        etags[key] = etag
    return again, shown


def stream_of(data: Mapping[str, Any]) -> str:
    """The stream in which a newer event replaces an older one; empty for a partial list, which is never replaced."""
    scope = _scope(data)
    if data["type"] == "SentinelWeightUpdated":
        return f"sw:{data['sentinel_id']}:{scope}"
    if data["type"] == "QueueUpdated" and data["tags"]:
        return f"q:{','.join(data['tags'])}:{data['interval']}:{data['match_mode']}:{scope}"
    return ""


def _scope(data: Mapping[str, Any]) -> str:
    return f"{data.get('world_id', '')}:{data.get('execution_domain', '')}"
