"""Canonical DAGs → submissions with proven ids, one per world asked for."""

from __future__ import annotations

from bytewax.operators import KeyedStream

from dagmanager.dag.model import Submission
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Canonicalized, Refused
from operators.step_guard import StepGuard


def hash_ids(
    step_id: str, up: KeyedStream[Canonicalized | Refused], reader: Reader, guard: StepGuard
) -> KeyedStream[Submission | Refused]:
    """Hash what is new, check every id, resolve the context of each world."""
    return guard.each(step_id, up, reader.hash, passing=Refused)
