"""What the graph stores of versions: lineages, sentinels and holders (docs/semantics.md 6).

Stored by the same rules as `rows`, which has the rest.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from dagmanager.engine.model.version_ask import VersionAsk


class LineageKey(NamedTuple):
    """The versions of one strategy family in one namespace (docs/semantics.md 6)."""

    lineage: str
    namespace: str


class SentinelKey(NamedTuple):
    """Identity of a VersionSentinel (docs/semantics.md 1)."""

    lineage: str
    namespace: str
    version: str
    revision: int


class HolderKey(NamedTuple):
    """A strategy id in one namespace and one world ('' for none): worlds may share a namespace."""

    strategy_id: str
    namespace: str
    world_id: str


class SentinelState(StrEnum):
    """Life of a sentinel (docs/semantics.md 6); `decide/rollout.py` has the table of transitions.

    Released: its claim failed. The states marked "not yet" are read and never written.
    """

    PENDING = "pending"
    ACTIVE = "active"
    PARKED = "parked"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"  # not yet
    RELEASED = "released"
    EXPIRED = "expired"  # not yet
    ARCHIVED = "archived"  # not yet


# A sentinel in one of these states keeps the queues of its content (docs/semantics.md 7).
REFERENCING = frozenset({SentinelState.PENDING, SentinelState.ACTIVE, SentinelState.PARKED})


class VersionTransition(msgspec.Struct, frozen=True):
    """What a pending sentinel waits with; stored as the field `takeover`.

    `state` and `weight` (0-1) are what it was to become when it was claimed; `asks` are its asks once it is active.
    """

    state: SentinelState
    weight: float
    asks: tuple[VersionAsk, ...] = ()


class SentinelRow(msgspec.Struct, frozen=True, tag="sentinel"):
    """VersionSentinel: a content under a version label, with its state and its share of traffic.

    `weight` is 0-1: the active weights of a lineage sum to 1, every other state has 0. `weight_asked` (0-1) is what a
    submission last sent, None if none did. `takeover` is set while pending. `asks` are those in effect. `content` is a
    digest. `introduced` are nodes that were new with it (F5, HAS). `sentinel_id` is the id that the first client saw;
    `weight_revision` counts the weights that were announced under that id. `waits` are topics that rivals were
    provisioning when it joined them: it is activated only after they are active.
    """

    key: SentinelKey
    content: str
    state: SentinelState
    weight: float
    commit_hash: str
    created_ms: int
    world_id: str = ""
    execution_domain: str = ""
    weight_asked: float | None = None
    introduced: tuple[str, ...] = ()
    claim_id: str = ""
    owner: str = ""
    lease_until_ms: int = 0
    takeover: VersionTransition | None = None
    last_seen_ms: int = 0
    sentinel_id: str = ""
    weight_revision: int = 0
    waits: tuple[str, ...] = ()
    asks: tuple[VersionAsk, ...] = ()


class LineageRow(msgspec.Struct, frozen=True, tag="lineage"):
    """The lock and the clock of one lineage: the newest record of a holder of the only version in force, by record order."""

    key: LineageKey
    last_at_ms: int
    last_partition: int = 0
    last_position: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in the record order."""
        return (self.last_at_ms, self.last_partition, self.last_position)


class PastSubmission(NamedTuple):
    """An earlier submission of a strategy id, and the time and offset of the record that replaced it."""

    submission_digest: str
    until_ms: int
    until_position: int


class HolderRow(msgspec.Struct, frozen=True, tag="holder"):
    """Holder: which sentinel a strategy id was answered with, and what it last sent.

    `weight_sent` is 0-1, None if it sent none. `previous` are its earlier submissions, newest last, at most 16: they
    tell a replayed resend from a new command (`decide/holder_history.py`).
    """

    key: HolderKey
    sentinel: SentinelKey
    submission_digest: str
    weight_sent: float | None
    last_seen_ms: int
    previous: tuple[PastSubmission, ...] = ()
