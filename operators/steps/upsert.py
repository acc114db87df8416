"""Plans → answers: claim, provision, activate, for the micro-batch in arrival order.

What this process wrote after an item's look-up, or earlier in the batch, makes the item's plan stale: the engine
looks it up and classifies it again. While a store is unreachable the flow waits here and reports it; the offset stays.
"""

from __future__ import annotations

from collections.abc import Callable

from bytewax.operators import KeyedStream

from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import Answer, CacheHit, Planned, Refused
from operators.step_guard import StepGuard


def upsert(
    step_id: str, up: KeyedStream[Planned | CacheHit | Refused], engine: Engine, guard: StepGuard
) -> KeyedStream[Answer | Refused]:
    """The only step that changes a store; called again with the same items while one is unreachable."""
    work: Callable[[list[Planned | CacheHit]], list[Answer]] = engine.upsert
    return guard.batches(step_id, up, work, passing=Refused)
