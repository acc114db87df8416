"""Sinks whose writes count as attempts: an answer that kills its sink is its record's fault, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.dag.model import Origin
from dagmanager.engine.wire.message import Message
from operators.poison_quarantine import PoisonQuarantine

T = TypeVar("T")
Part = StatefulSinkPartition[Message, Any]


class CountedPartition(StatefulSinkPartition[Message, Any]):
    """Another partition, with each batch in hand while it is written."""

    def __init__(self, inner: Part, step: str, attempts: PoisonQuarantine) -> None:
        """A wait within `inner` is told to `attempts` by its patience."""
        self._inner = inner
        self._write = attempts.batches(step, self._written, _origin_of, _once)

    def write_batch(self, values: list[Message]) -> None:
        """As the other does; one by one while a record is suspected."""
        self._write(values)

    def snapshot(self) -> Any:
        """The other's."""
        return self._inner.snapshot()

    def close(self) -> None:
        """The other's."""
        self._inner.close()

    def _written(self, values: list[Message]) -> list[None]:
        self._inner.write_batch(values)
        return []


class CountedSink(FixedPartitionedSink[Message, Any]):
    """Another sink, whose partitions and their names it has."""

    def __init__(
        self, inner: FixedPartitionedSink[Message, Any], step: str, attempts: PoisonQuarantine
    ) -> None:
        """`step` is what a death is told with."""
        self._inner, self._step, self._attempts = inner, step, attempts

    def list_parts(self) -> list[str]:
        """The other's."""
        return self._inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> CountedPartition:
        """The other's, counted."""
        return CountedPartition(
            self._inner.build_part(step_id, for_part, resume_state), self._step, self._attempts
        )


def _origin_of(message: Message) -> Origin | None:
    return message.origin


def _once(call: Callable[[], T]) -> T:
    """The partition below has a patience of its own."""
    return call()
