"""Raw records → canonical DAGs; a bad one becomes a `Refused` value, a foreign one leaves the stream."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Canonicalized, Refused
from operators.poison_quarantine import PoisonQuarantine
from operators.steps.remember import Remembered


@operator
def canonicalize(
    step_id: str, up: KeyedStream[Remembered], reader: Reader, attempts: PoisonQuarantine
) -> KeyedStream[Canonicalized | Refused]:
    """Parse, validate and canonicalize; unchanged nodes, and bytes that repeat, cost one look-up.

    Here records that killed the process too often leave: nothing looks into them again.
    """

    def read(item: Remembered) -> Canonicalized | Refused | None:
        return reader.canonicalize(item.record, digest=item.digest, repeat=item.repeat)

    counted = attempts.each("canonicalize", read, lambda item: item.record.origin)

    def tried(item: Remembered) -> Canonicalized | Refused | None:
        refused = attempts.quarantined(item.record)
        if refused is None:
            return counted(item)
        reader.observe(refused.rejection)
        return refused

    return op.filter_map_value("filter_map", up, tried)
