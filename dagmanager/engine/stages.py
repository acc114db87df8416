"""The type of a submission at each step. Each type has only fields that are known at that step.

`Canonicalized` -> `Submission` -> `LookedUp | CacheHit` -> `Planned | CacheHit` -> `Answer | InProgress` -> `Answer`; a
`Refused` passes every step by.
"""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import CanonicalDag, Dag, Envelope, Record, Submission
from dagmanager.engine.model.graph_port import EpochReading, Known
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import Binding
from dagmanager.engine.model.version_change import VersionChange
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.errors import Rejection


class Refused(msgspec.Struct, frozen=True):
    """A record that is not a valid submission: a value that passes all steps, so that order is kept.

    `attempts`: how often it was tried; more than once only when the process died at it. `withheld`: its dead
    letter is written without the record's bytes, because the process died while it wrote them. `worlds`: which of the
    record's worlds this refuses, one answer each; `("",)` while they are not known. `dry_run`: the strategy id
    is one of `dry_run_strategy_ids`.
    """

    record: Record
    strategy_id: str
    rejection: Rejection
    worlds: tuple[str, ...] = ("",)
    attempts: int = 1
    withheld: bool = False
    dry_run: bool = False


class Canonicalized(msgspec.Struct, frozen=True):
    """A record whose DAG is canonical: a `Dag` when its ids were proven before, else a `CanonicalDag`."""

    record: Record
    envelope: Envelope
    dag: CanonicalDag | Dag


class LookedUp(msgspec.Struct, frozen=True):
    """A submission with the rows that the graph had for it.

    `generation` is that of the engine before the read: another one now means that this process has written since.
    `reading` is the epoch before the read (None for a caller without a cache); `wanted` are the submission's
    bindings.
    """

    submission: Submission
    known: Known
    generation: int
    reading: EpochReading | None = None
    wanted: tuple[Binding, ...] | None = None


class CacheHit(msgspec.Struct, frozen=True):
    """A submission whose answer was in the answer cache: nothing was read or planned for it.

    `Engine.upsert` asks the cache again, because what came before it in the micro-batch may have changed the answer.
    """

    submission: Submission


class Planned(msgspec.Struct, frozen=True):
    """A submission with its plan, or the reason why there is none.

    `change` is how it changes its lineage; None in safe mode. `known`, `generation` and `reading` as in `LookedUp`.
    """

    submission: Submission
    known: Known
    generation: int
    plan: Plan | Rejection
    change: VersionChange | Rejection | None
    reading: EpochReading | None = None


class InProgress(msgspec.Struct, frozen=True):
    """A submission whose claim is recorded, and whose answer waits for topics: its own, or those of rivals.

    `brought_up`: its own topics were provisioned and its claim activated, as far as it was still ours; `active` are the
    topics that this activated, None when another process took the claim over.
    """

    submission: Submission
    claimed: Claimed
    brought_up: bool = False
    active: frozenset[str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """The result of a submission. `replayed`: it was decided before, and this is the stored result."""

    submission: Submission
    result: Outcome | Rejection
    replayed: bool = False
