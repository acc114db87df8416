"""What is known → the plan; pure."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import LookedUp, Planned, Refused
from operators.poison_quarantine import PoisonQuarantine, origin_of


@operator
def classify(
    step_id: str, up: KeyedStream[LookedUp | Refused], engine: Engine, attempts: PoisonQuarantine
) -> KeyedStream[Planned | Refused]:
    """Node by node: reuse, buffer, create, isolate."""
    counted = attempts.each("classify", engine.classify, origin_of)
    return op.map_value("map", up, lambda item: item if isinstance(item, Refused) else counted(item))
