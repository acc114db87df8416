"""What a submission asks of its lineage, and the five ways in which that changes the lineage's versions."""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import Notice
from dagmanager.engine.model.rows import LineageKey, SentinelKey, SentinelRow, VersionTransition


class VersionRequest(msgspec.Struct, frozen=True):
    """What one submission asks of its lineage.

    `version` is the label; `content` the digest of the set of nodes; `weight` the share of traffic that was asked
    for (clamped to 0-1), None when none was given. `at_ms` is the record's time in milliseconds since the epoch,
    `position` its offset in its partition: together they are the record order.
    """

    key: LineageKey
    version: str
    content: str
    weight: float | None
    strategy_id: str
    submission_digest: str
    at_ms: int
    position: int = 0
    commit_hash: str = ""
    world_id: str = ""
    execution_domain: str = ""


class ClaimTerms(msgspec.Struct, frozen=True):
    """Under which claim a change is made: its id, its owner, when the lease ends, and the store's clock, both in
    milliseconds since the epoch. `introduced` are the ids of nodes that a new sentinel brings."""

    claim_id: str
    owner: str
    lease_until_ms: int
    now_ms: int
    introduced: tuple[str, ...] = ()


class Resend(msgspec.Struct, frozen=True, tag=True):
    """The same strategy id sent the same bytes again: answered, and nothing is changed (docs/semantics.md 2).

    `referencing`: its sentinel is pending, active or parked, so that its queues are kept.
    """

    sentinel: SentinelRow
    referencing: bool
    warnings: tuple[Notice, ...] = ()


class AddHolder(msgspec.Struct, frozen=True, tag=True):
    """The label has this content already: only the holder is new. `weight_asked` is stored when it is not None."""

    sentinel: SentinelRow
    weight_asked: float | None = None
    warnings: tuple[Notice, ...] = ()


class NewSentinel(msgspec.Struct, frozen=True, tag=True):
    """A content that this label never had: a new revision becomes pending."""

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


class Reinstate(msgspec.Struct, frozen=True, tag=True):
    """A content that was in force before under this label: its sentinel becomes pending again."""

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


class ChangeWeight(msgspec.Struct, frozen=True, tag=True):
    """An active or pending sentinel gets another share; no topic has to be provisioned."""

    sentinel: SentinelRow
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()


VersionChange = Resend | AddHolder | NewSentinel | Reinstate | ChangeWeight
