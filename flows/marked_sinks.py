"""Sinks whose writes are marked as in flight: a death while an answer is written counts for its record, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dagmanager.dag.model import Origin
from dagmanager.engine.wire.message import Message
from operators.poison_quarantine import PoisonQuarantine

T = TypeVar("T")
Part = StatefulSinkPartition[Message, Any]


class MarkedPartition(StatefulSinkPartition[Message, Any]):
    """Another partition, whose batches are marked while they are written."""

    def __init__(self, inner: Part, step: str, quarantine: PoisonQuarantine) -> None:
        """`step` names the sink in markers. `inner` retries by itself; its retry policy clears the marker meanwhile."""
        self._inner = inner
        self._write = quarantine.batches(step, self._written, _origin_of, _once)

    def write_batch(self, values: list[Message]) -> None:
        """Write to `inner`; one message at a time while a poison candidate is among their records."""
        self._write(values)

    def snapshot(self) -> Any:
        """Delegates."""
        return self._inner.snapshot()

    def close(self) -> None:
        """Delegates."""
        self._inner.close()

    def _written(self, values: list[Message]) -> list[None]:
        self._inner.write_batch(values)
        return []


class MarkedSink(FixedPartitionedSink[Message, Any]):
    """Another sink with the same partitions."""

    def __init__(
        self, inner: FixedPartitionedSink[Message, Any], step: str, quarantine: PoisonQuarantine
    ) -> None:
        """`step` names the sink in markers and in the message of a quarantine."""
        self._inner, self._step, self._quarantine = inner, step, quarantine

    def list_parts(self) -> list[str]:
        """Delegates."""
        return self._inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> MarkedPartition:
        """Delegates; the partition is marked."""
        return MarkedPartition(
            self._inner.build_part(step_id, for_part, resume_state), self._step, self._quarantine
        )


def _origin_of(message: Message) -> Origin | None:
    return message.origin


def _once(call: Callable[[], T]) -> T:
    """The partition below has a retry policy of its own."""
    return call()
