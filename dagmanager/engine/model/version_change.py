"""What a submission asks of its lineage, and the five ways in which that changes the lineage's versions."""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.dag.model import Notice
from dagmanager.engine.model.version_ask import VersionAsk
from dagmanager.engine.model.version_rows import LineageKey, SentinelKey, SentinelRow, VersionTransition

# Later than every record.
FAR_MS: Final = 2**62


class VersionRequest(msgspec.Struct, frozen=True):
    """What one submission asks of its lineage.

    `version` is the label; `content` the digest of the set of nodes; `weight` the share of traffic that was asked
    for (clamped to 0-1), None when none was given. `at_ms` is the record's time in milliseconds since the epoch,
    `partition` and `position` (its offset) order records of the same millisecond. `now_ms` is the store's clock.
    """

    key: LineageKey
    version: str
    content: str
    weight: float | None
    strategy_id: str
    submission_digest: str
    # Two clocks: the record's decides the order of versions, and the store's (`now_ms`) limits it, because a record from
    # the future would otherwise win over all that come until then.
    at_ms: int
    partition: int = 0
    position: int = 0
    commit_hash: str = ""
    world_id: str = ""
    execution_domain: str = ""
    now_ms: int = FAR_MS


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
    """The label has this content already, and nothing else was asked: only the holder is new.

    `alone`: it is the only version in force, or will be once what is pending was activated. Then the record moves the
    lineage's clock.
    """

    sentinel: SentinelRow
    warnings: tuple[Notice, ...] = ()
    alone: bool = True


class NewSentinel(msgspec.Struct, frozen=True, tag=True):
    """A content that this label never had: a new revision becomes pending.

    `returning` are other versions that come into force again by this record, because it was read late. `confirmed` are
    asks of other versions that were holders only until now.
    """

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()
    returning: tuple[SentinelKey, ...] = ()
    confirmed: tuple[tuple[SentinelKey, VersionAsk], ...] = ()


class Reinstate(msgspec.Struct, frozen=True, tag=True):
    """A content that this label had before: its sentinel becomes pending again. `returning` and `confirmed` as in `NewSentinel`."""

    key: SentinelKey
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()
    returning: tuple[SentinelKey, ...] = ()
    confirmed: tuple[tuple[SentinelKey, VersionAsk], ...] = ()


class ChangeWeight(msgspec.Struct, frozen=True, tag=True):
    """Something else was asked for an active, parked or pending sentinel; no topic of it has to be provisioned.

    `returning` and `confirmed` as in `NewSentinel`.
    """

    sentinel: SentinelRow
    takeover: VersionTransition
    warnings: tuple[Notice, ...] = ()
    returning: tuple[SentinelKey, ...] = ()
    confirmed: tuple[tuple[SentinelKey, VersionAsk], ...] = ()


VersionChange = Resend | AddHolder | NewSentinel | Reinstate | ChangeWeight
