"""Where control events leave: the outbox is emptied after every batch of answers (docs/semantics.md 8).

The rows were written in the transaction of the change; this sink publishes all rows of the outbox, also those of
other processes. Rows that cannot be published stay in the outbox.
"""

from __future__ import annotations

from collections.abc import Callable

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition


class QueueEventsPartition(StatefulSinkPartition[None, None]):
    """Publishes the whole outbox after each batch."""

    def __init__(self, publish: Callable[[], object], epoch_over: Callable[[], None]) -> None:
        """Start with what an earlier run left behind."""
        self._publish = publish
        self._epoch_over = epoch_over
        publish()

    def write_batch(self, values: list[None]) -> None:
        """The values say only that something was answered."""
        self._publish()

    def snapshot(self) -> None:
        """Nothing of its own: the outbox is the graph's."""
        self._epoch_over()


class QueueEventsSink(FixedPartitionedSink[None, None]):
    """One partition: events leave in order of revision."""

    def __init__(self, publish: Callable[[], object], epoch_over: Callable[[], None] = lambda: None) -> None:
        """`publish` empties the outbox and may raise `UnavailableError`; `epoch_over` is called at each snapshot."""
        self._publish = publish
        self._epoch_over = epoch_over

    def list_parts(self) -> list[str]:
        """One."""
        return ["outbox"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> QueueEventsPartition:
        """No state to resume."""
        return QueueEventsPartition(self._publish, self._epoch_over)
