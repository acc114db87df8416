"""The events of a run as the Gateway sees them: it drops what repeats the last etag of a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from chaos.evidence import Announced, TagSet, tag_set_of
from chaos.findings import Fault, Finding


def announcement_faults(
    events: Sequence[Announced], tagged: Mapping[TagSet, tuple[str, ...]]
) -> Iterable[Finding]:
    """An id means one content; each stream only goes on, may repeat its last event, and ends with what is true."""
    contents: dict[str, bytes] = {}
    newest: dict[str, int] = {}
    last: dict[str, Mapping[str, Any]] = {}
    for event in events:
        envelope = orjson.loads(event.value)
        data = envelope["data"]
        is_repeat = envelope["id"] in contents
        before = contents.setdefault(envelope["id"], event.value)
        if before != event.value:
            yield Finding(Fault.TWO_CONTENTS, envelope["id"])
        stream = stream_of(data)
        if not stream:
            continue
        if data["revision"] < newest.get(stream, 0) + (not is_repeat):
            yield Finding(Fault.BACKWARDS, f"{envelope['id']} after revision {newest[stream]}")
        newest[stream] = max(newest.get(stream, 0), data["revision"])
        last[stream] = data
    for stream, data in last.items():
        if data["revision"] != newest[stream]:
            yield Finding(Fault.BACKWARDS, f"{stream} ends with {data['revision']}, not {newest[stream]}")
        about = tag_set_of(data)
        if about is not None and about in tagged:
            told = {each["queue"] for each in data["queues"]}
            if told != set(tagged[about]):
                yield Finding(Fault.CONTRADICTED, f"{about}: {sorted(told ^ set(tagged[about]))}")


def repeats(events: Sequence[Announced]) -> tuple[int, int]:
    """Records that were there before, and those among them that the Gateway would take for news."""
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
    """What a newer event outdates; empty for a partial list, which nothing outdates."""
    scope = f"{data.get('world_id', '')}:{data.get('execution_domain', '')}"
    if data["type"] == "SentinelWeightUpdated":
        return f"sw:{data['sentinel_id']}:{scope}"
    if data["type"] == "QueueUpdated" and data["tags"]:
        return f"q:{','.join(data['tags'])}:{data['interval']}:{data['match_mode']}:{scope}"
    return ""
