"""What model 3 changes in stored rows, the same for every store (`dagmanager.graph.model_version`).

Holders are keyed by world, too (docs/semantics.md 1). Outcomes that hold the refusal `late`, which no longer exists, are
deleted: a replay decides them again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.engine.model.version_rows import HolderKey, HolderRow, PastSubmission, SentinelKey


class HolderOfModel2(msgspec.Struct, frozen=True, tag="holder"):
    """A holder as models 1 and 2 stored it: its key is (strategy id, namespace)."""

    key: tuple[str, str]
    sentinel: SentinelKey
    submission_digest: str
    weight_sent: float | None
    last_seen_ms: int
    previous: tuple[PastSubmission, ...] = ()


class _SentinelWorld(msgspec.Struct, frozen=True, tag="sentinel"):
    world_id: str = ""


class _AnyCode(msgspec.Struct, frozen=True):
    code: str


class _OldRefusal(msgspec.Struct, frozen=True, tag="rejected.1"):
    rejection: _AnyCode


class _OldAnswer(msgspec.Struct, frozen=True, tag="outcome.1"):
    pass


_holders: Final = msgspec.msgpack.Decoder(HolderOfModel2)
_sentinels: Final = msgspec.msgpack.Decoder(_SentinelWorld)
_outcomes: Final = msgspec.msgpack.Decoder(OutcomeRow)
_bodies: Final = msgspec.msgpack.Decoder(_OldRefusal | _OldAnswer)


def old_holder(row: bytes) -> HolderOfModel2:
    """A stored holder of model 1 or 2; `msgspec.DecodeError` for other bytes."""
    return _holders.decode(row)


def holder_with_world(holder: HolderOfModel2, sentinel: bytes | None) -> HolderRow:
    """The holder with the world of its sentinel, which is given as stored; '' without one.

    Where worlds share a namespace, one row stood for all of them and does not tell which wrote it. The others add
    their own with their next submission.
    """
    world_id = _sentinels.decode(sentinel).world_id if sentinel is not None else ""
    return HolderRow(
        HolderKey(*holder.key, world_id),
        holder.sentinel,
        holder.submission_digest,
        holder.weight_sent,
        holder.last_seen_ms,
        holder.previous,
    )


def is_late(outcome: bytes) -> bool:
    """Whether this stored outcome is the refusal `late`; `msgspec.DecodeError` for other bytes."""
    body = _outcomes.decode(outcome).body
    found = _bodies.decode(body) if body else None
    return isinstance(found, _OldRefusal) and found.rejection.code == "late"
