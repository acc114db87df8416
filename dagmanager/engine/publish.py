"""Step 4 of the effects: outbox rows leave in order of revision; nothing lost, nothing backwards.

Publishing happens under one lock of the graph, so that two processes cannot pass each other; a row
older than a published one of its stream is dropped, not sent (decisions 7). A crash between sending
and marking sends again: the same bytes, the same idempotency key.
"""

from __future__ import annotations

from dagmanager.engine.ports import EventSink, Graph, Locks, Transaction
from dagmanager.engine.rows import CounterRow, OutboxRow, Row

BATCH = 500


def publish_waiting(graph: Graph, events: EventSink) -> int:
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
    due, newest = in_order(waiting, last)
    if due:
        events.publish(due)
    rows: list[Row] = [CounterRow(_counter(stream), revision) for stream, revision in sorted(newest.items())]
    tx.put(rows)
    tx.delete(waiting)
    return len(due), len(waiting) == BATCH


def in_order(waiting: tuple[OutboxRow, ...], last: dict[str, int]) -> tuple[list[OutboxRow], dict[str, int]]:
    """Which rows to send, by revision, and the newest revision of each stream afterwards.

    A row without a stream is outdated by nothing.
    """
    newest = dict(last)
    due: list[OutboxRow] = []
    for row in sorted(waiting, key=lambda row: (row.revision, row.stream)):
        if not row.stream:
            due.append(row)
        elif row.revision > newest[row.stream]:
            due.append(row)
            newest[row.stream] = row.revision
    return due, newest


def _counter(stream: str) -> str:
    return f"published:{stream}"
