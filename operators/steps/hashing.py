"""Canonical DAGs → submissions with proven ids, one per world asked for."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import operator
from bytewax.operators import KeyedStream

from dagmanager.dag.model import Submission
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Canonicalized, Refused
from operators.poison_quarantine import PoisonQuarantine


@operator
def hash_ids(
    step_id: str, up: KeyedStream[Canonicalized | Refused], reader: Reader, attempts: PoisonQuarantine
) -> KeyedStream[Submission | Refused]:
    """Hash what is new, check every id, resolve the context of each world."""
    counted = attempts.each("hash", reader.hash, lambda item: item.record.origin)
    return op.flat_map_value("flat_map", up, counted)
