"""Plans → answers: claim, provision, activate, for the micro-batch in arrival order.

What this worker wrote after an item's lookup, or earlier in the batch, makes the item stale: the
engine looks it up and classifies it again. While a store is away the flow waits here and says so;
the offset stays.
"""

from __future__ import annotations

from collections.abc import Iterable

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.engine.engine import Engine
from dagmanager.engine.stages import Answer, Planned, Refused
from operators.poison_quarantine import PoisonQuarantine, origin_of
from operators.store_retry import RetryPolicy

Batch = list[tuple[str, Planned | Refused]]


@operator
def upsert(
    step_id: str,
    up: KeyedStream[Planned | Refused],
    engine: Engine,
    patience: RetryPolicy,
    attempts: PoisonQuarantine,
) -> KeyedStream[Answer | Refused]:
    """Refused items pass by, in order. `patience` calls again until the world is back."""
    made = attempts.batches("upsert", engine.upsert, origin_of, patience.in_step("upsert"))

    def batched(batch: Batch) -> Iterable[tuple[str, Answer | Refused]]:
        planned = [item for _, item in batch if isinstance(item, Planned)]
        answers = iter(made(planned) if planned else [])
        return [(key, next(answers) if isinstance(item, Planned) else item) for key, item in batch]

    return op.flat_map_batch("flat_map_batch", up, batched)
