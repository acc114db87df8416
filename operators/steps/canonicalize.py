"""Raw records → canonical DAGs; an invalid one becomes a `Refused` value, one of another kind leaves the stream."""

from __future__ import annotations

from collections.abc import Iterable

from bytewax.operators import KeyedStream

from dagmanager.dag.model import Record
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Canonicalized, Refused
from operators.step_guard import StepGuard


def canonicalize(
    step_id: str, up: KeyedStream[Record], reader: Reader, guard: StepGuard
) -> KeyedStream[Canonicalized | Refused]:
    """Parse, validate and canonicalize; nodes and bytes that were read before cost one look-up.

    A record in quarantine is refused here, before anything looks into it.
    """

    def read(record: Record) -> Iterable[Canonicalized | Refused]:
        refused = guard.quarantine.refusal_of(record)
        if refused is not None:
            return (reader.noted(refused),)
        found = reader.canonicalize(record)
        return () if found is None else (found,)

    return guard.each(step_id, up, read)
