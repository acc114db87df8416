"""What a claim decides about one submission, and what it did."""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.dag.model import Submission
from dagmanager.engine.model.graph_port import Known, Locks
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import QueueRow

NO_LOCKS: Final = Locks()


class Decision(msgspec.Struct, frozen=True):
    """One submission inside its claim: the rows that were read under the locks, and the plan made from them."""

    submission: Submission
    known: Known
    plan: Plan
    claim_id: str
    options: ClaimOptions


class Claimed(msgspec.Struct, frozen=True):
    """What a claim did.

    `provision` are the queues that this process must create now; `joined` the topics that rivals are provisioning, and
    that must be active before the answer is given. `activated`: there was nothing to provision, the versions are up to
    date. `replayed`: the answer was stored before. `locks` is what activation will have to lock, as far as known.
    """

    outcome: Outcome
    provision: tuple[QueueRow, ...] = ()
    joined: tuple[str, ...] = ()
    activated: bool = False
    replayed: bool = False
    locks: Locks = NO_LOCKS
