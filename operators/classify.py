"""What is known → the plan; pure."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.engine.engine import Engine
from dagmanager.engine.journey import LookedUp, Planned, Refused


@operator
def classify(
    step_id: str, up: KeyedStream[LookedUp | Refused], engine: Engine
) -> KeyedStream[Planned | Refused]:
    """Node by node: reuse, buffer, create, isolate."""
    return op.map_value("map", up, lambda item: item if isinstance(item, Refused) else engine.classify(item))
