"""Submissions → what the graph knows of them: one query for the whole micro-batch (F3)."""

from __future__ import annotations

from collections.abc import Iterable

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.dag.model import Submission
from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import LookedUp, Refused
from operators.poison_quarantine import PoisonQuarantine, origin_of
from operators.store_retry import RetryPolicy

Batch = list[tuple[str, Submission | Refused]]


@operator
def lookup(
    step_id: str,
    up: KeyedStream[Submission | Refused],
    engine: Engine,
    patience: RetryPolicy,
    attempts: PoisonQuarantine,
) -> KeyedStream[LookedUp | Refused]:
    """Refused items pass by, in order. `patience` calls again until the graph is back."""
    known = attempts.batches("lookup", engine.lookup, origin_of, patience.in_step("lookup"))

    def batched(batch: Batch) -> Iterable[tuple[str, LookedUp | Refused]]:
        asked = [item for _, item in batch if isinstance(item, Submission)]
        found = iter(known(asked) if asked else [])
        return [(key, next(found) if isinstance(item, Submission) else item) for key, item in batch]

    return op.flat_map_batch("flat_map_batch", up, batched)
