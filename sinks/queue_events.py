"""The output of control events: the outbox is published after every batch of answers (docs/semantics.md 8).

The rows were written in the transaction of the change, so that no change is without its events and no event without its
change. This sink publishes all rows of the outbox, also those of other processes. Rows that cannot be published stay.
"""

from __future__ import annotations

from collections.abc import Callable

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition


class QueueEventsPartition(StatefulSinkPartition[None, None]):
    """Publishes the whole outbox after each batch."""

    def __init__(self, publish: Callable[[], object], epoch_over: Callable[[], None]) -> None:
        """Publish the rows that an earlier run did not. Blocks and raises as `publish`."""
        self._publish = publish
        self._epoch_over = epoch_over
        publish()

    def write_batch(self, values: list[None]) -> None:
        """Publish. The values carry nothing: they only show that a submission was answered."""
        self._publish()

    def snapshot(self) -> None:
        """No state: the outbox is in the graph."""
        self._epoch_over()


class QueueEventsSink(FixedPartitionedSink[None, None]):
    """One partition, so that events are published in order of revision."""

    def __init__(self, publish: Callable[[], object], epoch_over: Callable[[], None] = lambda: None) -> None:
        """`publish` empties the outbox; it may block, and raises `UnavailableError` when the run is stopped during an outage.
        `epoch_over` is called at each snapshot."""
        self._publish = publish
        self._epoch_over = epoch_over

    def list_parts(self) -> list[str]:
        """Its only part."""
        return ["outbox"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> QueueEventsPartition:
        """No state to resume."""
        return QueueEventsPartition(self._publish, self._epoch_over)
