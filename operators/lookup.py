"""Submissions → what the graph knows of them: one query for the whole micro-batch (F3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.dag.model import Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.journey import LookedUp, Refused

Batch = list[tuple[str, Submission | Refused]]


@operator
def lookup(
    step_id: str,
    up: KeyedStream[Submission | Refused],
    engine: Engine,
    patiently: Callable[[Callable[[], list[LookedUp]]], list[LookedUp]],
) -> KeyedStream[LookedUp | Refused]:
    """Refused items pass by, in order. `patiently` calls again until the graph is back."""

    def batched(batch: Batch) -> Iterable[tuple[str, LookedUp | Refused]]:
        asked = [item for _, item in batch if isinstance(item, Submission)]
        found = iter(patiently(lambda: engine.lookup(asked)) if asked else [])
        return [(key, next(found) if isinstance(item, Submission) else item) for key, item in batch]

    return op.flat_map_batch("flat_map_batch", up, batched)
