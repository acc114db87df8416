"""Step 4 of the effects: outbox rows leave in order of revision; nothing lost, nothing backwards.

Publishing happens under one lock of the graph, so that two processes cannot pass each other; a row
older than a published one of its stream is dropped, not sent (docs/semantics.md 8). A crash between sending
and marking sends the batch again: the same bytes, the same idempotency keys. So a batch holds one
row of a stream at most: whoever takes the repeat for news sees nothing older than what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagmanager.engine.model.event_ports import EventSink
from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, OutboxRow, Row
from dagmanager.engine.wire.events import is_full_list

BATCH = 500


def publish_outbox(graph: Graph, events: EventSink) -> int:
    """Publish everything that waits; how many events were sent."""
    sent = 0
    while True:
        count, left = graph.transact(lambda tx: _publish(tx, events))
        sent += count
        if not left:
            return sent


def _publish(tx: Transaction, events: EventSink) -> tuple[int, bool]:
    tx.lock(Locks(publisher=True))
    waiting = tx.waiting_events(BATCH)
    if not waiting:
        return 0, False
    streams = {row.stream for row in waiting if row.stream}
    published = tx.counters(_counter(stream) for stream in streams)
    last = {stream: published[_counter(stream)] for stream in streams}
    batch = next_batch(waiting, last)
    if batch.due:
        events.publish(batch.due)
    rows: list[Row] = [
        CounterRow(_counter(stream), revision) for stream, revision in sorted(batch.newest.items())
    ]
    tx.put(rows)
    kept = {row.event_id for row in batch.later}
    tx.delete([row for row in waiting if row.event_id not in kept])
    return len(batch.due), bool(batch.later) or len(waiting) == BATCH


@dataclass(frozen=True)
class Batch:
    """What is sent now, by revision, one of a stream at most; the newest revision of each stream
    afterwards; and what must wait for the next batch."""

    due: list[OutboxRow]
    newest: dict[str, int]
    later: list[OutboxRow]


def next_batch(waiting: Sequence[OutboxRow], last: Mapping[str, int]) -> Batch:
    """The batch after revisions `last`. Rows in neither of its lists are outdated: nobody needs a list whose
    successor leaves with the same batch, while each weight and each step in a queue's life is told.

    A row without a stream is outdated by nothing.
    """
    newest = dict(last)
    due: dict[str, OutboxRow] = {}
    later: list[OutboxRow] = []
    for row in sorted(waiting, key=lambda row: (row.revision, row.stream)):
        if not row.stream:
            due[row.event_id] = row
        elif row.revision <= newest[row.stream]:
            continue
        elif row.stream in due and not is_full_list(row):
            later.append(row)
        else:
            due[row.stream] = row
            newest[row.stream] = row.revision
    return Batch(sorted(due.values(), key=lambda row: (row.revision, row.stream)), newest, later)


def _counter(stream: str) -> str:
    return f"published:{stream}"
