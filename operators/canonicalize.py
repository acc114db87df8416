"""Raw records → canonical DAGs; a bad one becomes a `Refused` value, a foreign one leaves the stream."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.engine.journey import Canonicalized, Refused
from dagmanager.engine.reading import Reader
from operators.remember import Remembered


@operator
def canonicalize(
    step_id: str, up: KeyedStream[Remembered], reader: Reader
) -> KeyedStream[Canonicalized | Refused]:
    """Parse, validate and canonicalize; unchanged nodes, and bytes that repeat, cost one look-up."""
    return op.filter_map_value(
        "filter_map",
        up,
        lambda item: reader.canonicalize(item.record, digest=item.digest, repeat=item.repeat),
    )
