"""ControlBus events as outbox rows: CloudEvents 1.0, structured JSON (I5, docs/semantics.md 8).

The Gateway in the field drops payloads whose `version` is not 1 and repeats of the last etag per key,
so `version` stays 1 and `revision` takes its place inside etag and idempotency key. Nothing here is
random and nothing reads a clock: a repeat is byte-equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import orjson
from blake3 import blake3

from dagmanager.engine.model.graph_port import TaggedQueue
from dagmanager.engine.model.rows import OutboxRow, OutboxState, TagSetKey

SOURCE: Final = "qmtl.services.dagmanager"
PAYLOAD_VERSION: Final = 1
QUEUE_CHANNEL: Final = "queue"
SENTINEL_CHANNEL: Final = "sentinel_weight"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventStamp(msgspec.Struct, frozen=True):
    """When a change was made and its place in its stream; both are stored with the change."""

    revision: int
    at_ms: int


class Scope(msgspec.Struct, frozen=True):
    """The namespace an event speaks of, in the words of the payload; empty for base names."""

    world_id: str = ""
    execution_domain: str = ""

    def text(self) -> str:
        """For keys that must tell namespaces apart; empty for base names."""
        return f":{self.world_id}:{self.execution_domain}" if self.world_id or self.execution_domain else ""

    def fields(self) -> dict[str, str]:
        """Payload fields: only those that are set."""
        named = {"world_id": self.world_id, "execution_domain": self.execution_domain}
        return {name: value for name, value in named.items() if value}


class QueueChange(msgspec.Struct, frozen=True):
    """One step in a queue's life: `action` is drop, archive or recompute (docs/semantics.md 8)."""

    queue: str
    action: str
    reason: str
    tag: str = ""
    interval: int | None = None
    archive_status: str = ""


BASE: Final = Scope()
_LISTS: Final = "q:"


def queue_updated(
    key: TagSetKey,
    match_mode: str,
    queues: Iterable[TaggedQueue],
    moment: EventStamp,
    scope: Scope = BASE,
) -> OutboxRow:
    """The full current list of queues behind a tag set. Key: the sorted tags, joined by commas.

    Its stream is the tag set in one match mode and one namespace: the revision is shared by all of
    them, but an event of one says nothing about the list of another and must not outdate it.
    """
    tags = sorted(key.tags)
    joined = ".".join(tags)
    idempotency_key = f"queue_updated:{joined}:{key.interval}:{match_mode}:{moment.revision}"
    payload: dict[str, Any] = {
        "type": "QueueUpdated",
        "tags": tags,
        "interval": key.interval,
        "queues": [
            {"queue": each.topic, "global": each.global_} for each in sorted(queues, key=lambda q: q.topic)
        ],
        "match_mode": match_mode,
        "version": PAYLOAD_VERSION,
        "revision": moment.revision,
        "etag": f"q:{joined}:{key.interval}:{moment.revision}",
        "idempotency_key": idempotency_key,
    }
    # A tag may hold the separators ('a.b' and 'a', 'b' join alike): the row's id must still be its own.
    unclear = any("." in tag or ":" in tag for tag in tags)
    mark = "#" + blake3(orjson.dumps(tags)).hexdigest(length=4) if unclear else ""
    return _row(
        channel=QUEUE_CHANNEL,
        event_id=idempotency_key + mark,
        stream=f"{_LISTS}{joined}:{key.interval}:{match_mode}{scope.text()}{mark}",
        message_key=",".join(tags),
        payload=payload | scope.fields() | {"ts": timestamp(moment.at_ms)},
        at_ms=moment.at_ms,
    )


def queue_lifecycle(change: QueueChange, moment: EventStamp, scope: Scope = BASE) -> OutboxRow:
    """A queue is dropped, archived, or to be recomputed. Key: its name."""
    named = f"{change.queue}:{change.action}:{change.reason}:{moment.revision}"
    payload: dict[str, Any] = {
        "type": "QueueLifecycle",
        "queue": change.queue,
        "action": change.action,
        "reason": change.reason,
        "version": PAYLOAD_VERSION,
        "revision": moment.revision,
        "etag": f"ql:{named}",
        "idempotency_key": f"queue_lifecycle:{named}",
    }
    if change.tag:
        payload["tag"] = change.tag
    if change.interval is not None:
        payload["interval"] = change.interval
    if change.archive_status:
        payload["archive_status"] = change.archive_status
    return _row(
        channel=QUEUE_CHANNEL,
        event_id=f"queue_lifecycle:{named}",
        stream=f"ql:{change.queue}",
        message_key=change.queue,
        payload=payload | scope.fields() | {"ts": timestamp(moment.at_ms)},
        at_ms=moment.at_ms,
    )


def sentinel_weight_updated(
    sentinel_id: str, version_label: str, weight: float, moment: EventStamp, scope: Scope = BASE
) -> OutboxRow:
    """A sentinel's traffic weight. Key: the id that clients see (`<strategy_id>-sentinel`).

    One id may live in several worlds, which count its revisions together: the etag keeps the contract's form, which
    names no world, and a Gateway that remembers one etag per id must not take one world's weight for another's.
    """
    ratio = min(max(float(weight), 0.0), 1.0) + 0.0
    named = f"{sentinel_id}:{version_label}:{ratio:.6f}:{moment.revision}"
    idempotency_key = f"sentinel_weight_updated:{named}"
    payload: dict[str, Any] = {
        "type": "SentinelWeightUpdated",
        "sentinel_id": sentinel_id,
        "weight": ratio,
        "sentinel_version": version_label,
        "version": PAYLOAD_VERSION,
        "revision": moment.revision,
        "etag": f"sw:{named}",
        "idempotency_key": idempotency_key,
    }
    return _row(
        channel=SENTINEL_CHANNEL,
        event_id=idempotency_key,
        stream=f"sw:{sentinel_id}{scope.text()}",
        message_key=sentinel_id,
        payload=payload | scope.fields() | {"ts": timestamp(moment.at_ms)},
        at_ms=moment.at_ms,
    )


def is_full_list(event: OutboxRow) -> bool:
    """Whether it holds all that its stream has to say. A full list does; a step in a queue's life does not,
    nor does a weight: versions brought by one strategy id share a stream, each with its own."""
    return event.stream.startswith(_LISTS)


def timestamp(at_ms: int) -> str:
    """ISO-8601 in UTC with `Z`, to the millisecond."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(
    channel: str, event_id: str, stream: str, message_key: str, payload: dict[str, Any], at_ms: int
) -> OutboxRow:
    """The envelope: what CloudEvents 1.0 requires, and time and content type."""
    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": payload["idempotency_key"].partition(":")[0],
        "time": payload["ts"],
        "datacontenttype": "application/json",
        "data": payload,
    }
    return OutboxRow(
        event_id=event_id,
        stream=stream,
        revision=payload["revision"],
        channel=channel,
        message_key=message_key,
        value=orjson.dumps(envelope),
        state=OutboxState.WAITING,
        created_ms=at_ms,
    )
