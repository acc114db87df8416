"""ControlBus events as outbox rows: CloudEvents 1.0 in structured JSON (docs/contract.md, ControlBus; docs/semantics.md 8).

The Gateway drops payloads whose `version` is not 1, and repeats of the last etag per key. So `version` stays 1, and the
number that grows with every change is `revision`, which is part of etag and idempotency key. Time and revision are
arguments and nothing is random: an event that is built again has the same bytes.
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
    """The revision of a change in its stream (from 1) and its time in milliseconds since the epoch.

    Both are stored with the change, so that the event can be built again.
    """

    revision: int
    at_ms: int


class Scope(msgspec.Struct, frozen=True):
    """The namespace of an event with the field names of the payload; empty for base names."""

    world_id: str = ""
    execution_domain: str = ""

    def text(self) -> str:
        """A suffix for keys that must differ by namespace; '' for base names."""
        return f":{self.world_id}:{self.execution_domain}" if self.world_id or self.execution_domain else ""

    def fields(self) -> dict[str, str]:
        """The payload fields that are set."""
        named = {"world_id": self.world_id, "execution_domain": self.execution_domain}
        return {name: value for name, value in named.items() if value}


class QueueChange(msgspec.Struct, frozen=True):
    """A change in the life of one queue (docs/semantics.md 8).

    `action` is `drop`, `archive` or `recompute`; `interval` is in seconds. Not yet used: archive and recompute.
    """

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
    stamp: EventStamp,
    scope: Scope = BASE,
) -> OutboxRow:
    """The full current list of queues of a tag set. Message key: the sorted tags, joined by commas.

    Its stream is the tag set in one match mode and one namespace. The revision counter is shared by all match modes
    and namespaces, but an event of one has not the list of another and must not outdate it.
    """
    tags = sorted(key.tags)
    joined = ".".join(tags)
    idempotency_key = f"queue_updated:{joined}:{key.interval}:{match_mode}:{stamp.revision}"
    payload: dict[str, Any] = {
        "type": "QueueUpdated",
        "tags": tags,
        "interval": key.interval,
        "queues": [
            {"queue": each.topic, "global": each.global_} for each in sorted(queues, key=lambda q: q.topic)
        ],
        "match_mode": match_mode,
        "version": PAYLOAD_VERSION,
        "revision": stamp.revision,
        "etag": f"q:{joined}:{key.interval}:{stamp.revision}",
        "idempotency_key": idempotency_key,
    }
    # A tag may contain the separators: ('a.b',) and ('a', 'b') give the same text. The contract fixes the form of etag
    # and idempotency key, so only the row's id and its stream get a digest that tells such tag sets apart.
    ambiguous = any("." in tag or ":" in tag for tag in tags)
    mark = "#" + blake3(orjson.dumps(tags)).hexdigest(length=4) if ambiguous else ""
    return _row(
        channel=QUEUE_CHANNEL,
        event_id=idempotency_key + mark,
        stream=f"{_LISTS}{joined}:{key.interval}:{match_mode}{scope.text()}{mark}",
        message_key=",".join(tags),
        payload=payload | scope.fields() | {"ts": timestamp(stamp.at_ms)},
        at_ms=stamp.at_ms,
    )


def queue_lifecycle(change: QueueChange, stamp: EventStamp, scope: Scope = BASE) -> OutboxRow:
    """A queue is dropped, archived, or to be recomputed. Message key: its topic."""
    named = f"{change.queue}:{change.action}:{change.reason}:{stamp.revision}"
    payload: dict[str, Any] = {
        "type": "QueueLifecycle",
        "queue": change.queue,
        "action": change.action,
        "reason": change.reason,
        "version": PAYLOAD_VERSION,
        "revision": stamp.revision,
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
        payload=payload | scope.fields() | {"ts": timestamp(stamp.at_ms)},
        at_ms=stamp.at_ms,
    )


def sentinel_weight_updated(
    sentinel_id: str, version_label: str, weight: float, stamp: EventStamp, scope: Scope = BASE
) -> OutboxRow:
    """The traffic weight of a sentinel, clamped to 0-1. Message key: the id that clients see.

    One id may exist in several worlds. They share a revision counter: the etag of the contract names no world, and a
    Gateway that keeps one etag per id must not mistake the weight of one world for a repeat of another's.
    """
    ratio = min(max(float(weight), 0.0), 1.0) + 0.0  # + 0.0 turns -0.0 into 0.0, which prints without a sign
    named = f"{sentinel_id}:{version_label}:{ratio:.6f}:{stamp.revision}"
    idempotency_key = f"sentinel_weight_updated:{named}"
    payload: dict[str, Any] = {
        "type": "SentinelWeightUpdated",
        "sentinel_id": sentinel_id,
        "weight": ratio,
        "sentinel_version": version_label,
        "version": PAYLOAD_VERSION,
        "revision": stamp.revision,
        "etag": f"sw:{named}",
        "idempotency_key": idempotency_key,
    }
    return _row(
        channel=SENTINEL_CHANNEL,
        event_id=idempotency_key,
        stream=f"sw:{sentinel_id}{scope.text()}",
        message_key=sentinel_id,
        payload=payload | scope.fields() | {"ts": timestamp(stamp.at_ms)},
        at_ms=stamp.at_ms,
    )


def is_full_list(event: OutboxRow) -> bool:
    """Whether the event is the full list of a tag set, so that a newer event of its stream makes it superfluous.

    That is not so for lifecycle events, nor for weights: the versions of one strategy id share a stream, and each has
    its own weight.
    """
    return event.stream.startswith(_LISTS)


def timestamp(at_ms: int) -> str:
    """Milliseconds since the epoch as ISO-8601 in UTC with `Z`, to the millisecond."""
    instant = _EPOCH + timedelta(milliseconds=at_ms)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(
    channel: str, event_id: str, stream: str, message_key: str, payload: dict[str, Any], at_ms: int
) -> OutboxRow:
    """The CloudEvents envelope around a payload, as an outbox row."""
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
