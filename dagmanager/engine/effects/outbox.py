"""Step 4 of the effects: publishes the outbox, each stream in order of revision (docs/semantics.md 8).

One process publishes at a time, under a lock of the graph, so that no event overtakes an older one. An event that is
older than a published one of its stream is deleted, not sent. Events are sent before the transaction that deletes them is
committed, so a crash in between sends the batch again: the same bytes with the same idempotency keys. That is why a
batch has at most one event of a stream: with two, the repeat of the first would arrive after the second, and a client
that does not know the key any more would go back to the older one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.graph_port import Graph, Locks, Transaction
from dagmanager.engine.model.rows import CounterRow, OutboxRow, Row
from dagmanager.engine.wire.events import is_full_list

BATCH: Final = 500


def publish_outbox(graph: Graph, events: EventSink) -> int:
    """Publish all events of the outbox, of every process; how many were sent.

    Blocks until the last one is acknowledged, and while another process publishes. Raises `UnavailableError`; a repeat
    sends what was not committed again.
    """
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
    # Outdated events are deleted with the published ones: no later batch would send them either.
    kept = {row.event_id for row in batch.later}
    tx.delete([row for row in waiting if row.event_id not in kept])
    return len(batch.due), bool(batch.later) or len(waiting) == BATCH


@dataclass(frozen=True)
class Batch:
    """`due` is sent now, by revision, at most one event of a stream; `newest` is the newest revision of each stream
    afterwards; `later` is for the next batch. Everything else is outdated."""

    due: list[OutboxRow]
    newest: dict[str, int]
    later: list[OutboxRow]


def next_batch(waiting: Sequence[OutboxRow], last: Mapping[str, int]) -> Batch:
    """The next batch, after the published revisions `last` of the streams.

    A full list is outdated by a newer one in the same batch. Weights and lifecycle events are all sent, one after the
    other, and so is every event without a stream.
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
