"""What a submission is at each step of its journey: read, looked up, planned, answered or refused."""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import CanonicalDag, Dag, Envelope, Record, Submission
from dagmanager.engine.caches.answer_cache import CachedAnswer
from dagmanager.engine.model.graph_port import EpochReading, Known
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import Binding
from dagmanager.engine.model.version_change import VersionChange
from dagmanager.errors import Rejection


class Refused(msgspec.Struct, frozen=True):
    """A record that is no good submission: it travels on as a value, so that order is kept.

    `attempts`: how often it was tried; more than once only when the process died at it. `withheld`: its
    letter comes without its bytes, because burying them is what kills. `worlds`: who of the record's worlds is
    refused by this, and told so; one without a name while nobody knows them.
    """

    record: Record
    strategy_id: str
    rejection: Rejection
    worlds: tuple[str, ...] = ("",)
    attempts: int = 1
    withheld: bool = False


class Canonicalized(msgspec.Struct, frozen=True):
    """A record whose DAG is canonical: a `Dag` when these bytes were proven before, else its ids are to be."""

    record: Record
    envelope: Envelope
    dag: CanonicalDag | Dag


class LookedUp(msgspec.Struct, frozen=True):
    """A submission with what the graph knew; `generation` tells whether this worker wrote since.

    `pulse` was read before; `wanted` are the submission's bindings. Of a `recalled` answer nothing had to be
    looked up.
    """

    submission: Submission
    known: Known
    generation: int
    pulse: EpochReading | None = None
    recalled: CachedAnswer | None = None
    wanted: tuple[Binding, ...] | None = None


class Planned(msgspec.Struct, frozen=True):
    """A submission with its plan, or the reason why there is none.

    `change` is what it does to its lineage; None in safe mode. A `recalled` answer needs neither.
    """

    submission: Submission
    known: Known
    generation: int
    plan: Plan | Rejection
    change: VersionChange | Rejection | None
    pulse: EpochReading | None = None
    recalled: CachedAnswer | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the stores answered. `replayed`: this very submission had been decided before."""

    submission: Submission
    result: Outcome | Rejection
    replayed: bool = False
