"""Back-pressure: an input that is not read while the flow has no room for more.

The worker continues meanwhile: it emits results, which makes room, takes snapshots, and notices a stop. A step that blocked
instead would block the results that it waits for. What was read before still arrives: about one micro-batch per worker,
and while a worker waits for a store, what the others read for it in one epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

X = TypeVar("X")
S = TypeVar("S")
# Short against what makes room, a topic or a transaction: 10 ms or more.
LOOK: Final = timedelta(milliseconds=2)


class PausedPartition(StatefulSourcePartition[X, S]):
    """A partition that gives nothing while there is no room. State, and everything else, as the partition that it wraps."""

    def __init__(
        self,
        inner: StatefulSourcePartition[X, S],
        has_room: Callable[[], bool],
        stopping: Callable[[], bool],
    ) -> None:
        """The end of a run does not wait for room."""
        self._inner, self._has_room, self._stopping = inner, has_room, stopping
        self._paused = False

    def next_batch(self) -> Iterable[X]:
        """Nothing while there is no room; otherwise as the inner partition, which also notices the stop."""
        self._paused = not self._has_room() and not self._stopping()
        return () if self._paused else self._inner.next_batch()

    def next_awake(self) -> datetime | None:
        """In 2 ms while paused."""
        return datetime.now(UTC) + LOOK if self._paused else self._inner.next_awake()

    def snapshot(self) -> S:
        """As the inner partition."""
        return self._inner.snapshot()

    def close(self) -> None:
        """Close the inner partition."""
        self._inner.close()


class PausedInput(FixedPartitionedSource[X, S]):
    """A source of `PausedPartition`. `has_room` and `stopping` are called in the threads of workers; they must not block."""

    def __init__(
        self,
        inner: FixedPartitionedSource[X, S],
        has_room: Callable[[], bool],
        stopping: Callable[[], bool],
    ) -> None:
        """Read nothing yet."""
        self._inner, self._has_room, self._stopping = inner, has_room, stopping

    def list_parts(self) -> list[str]:
        """As the inner source."""
        return self._inner.list_parts()

    def build_part(self, step_id: str, for_part: str, resume_state: S | None) -> PausedPartition[X, S]:
        """The inner source's partition, paused while there is no room. Raises as the inner source."""
        inner = self._inner.build_part(step_id, for_part, resume_state)
        return PausedPartition(inner, self._has_room, self._stopping)
