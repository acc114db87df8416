"""Submissions → what the graph knows of them: one query for the whole micro-batch (F3)."""

from __future__ import annotations

from bytewax.operators import KeyedStream

from dagmanager.dag.model import Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import CacheHit, LookedUp, Refused
from operators.step_guard import StepGuard


def lookup(
    step_id: str, up: KeyedStream[Submission | Refused], engine: Engine, guard: StepGuard
) -> KeyedStream[LookedUp | CacheHit | Refused]:
    """One read for all that has no answer in the cache; called again while the graph is unreachable."""
    return guard.batches(step_id, up, engine.lookup, passing=Refused)
