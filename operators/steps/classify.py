"""What is known → the plan; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bytewax.operators import KeyedStream

from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import CacheHit, LookedUp, Planned, Refused
from operators.step_guard import StepGuard

PASSING: Final[tuple[type[CacheHit | Refused], ...]] = (CacheHit, Refused)


def classify(
    step_id: str, up: KeyedStream[LookedUp | CacheHit | Refused], engine: Engine, guard: StepGuard
) -> KeyedStream[Planned | CacheHit | Refused]:
    """Node by node: reuse, buffer, create, isolate. What has its answer in the cache needs no plan."""

    def planned(item: LookedUp) -> Iterable[Planned]:
        return (engine.classify(item),)

    return guard.each(step_id, up, planned, passing=PASSING)
