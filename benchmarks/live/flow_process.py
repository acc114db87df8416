"""The product's flow as a process, with timed ports; started by `benchmarks.live.site`.

    python -m benchmarks.live.flow_process CONFIG RECOVERY LAPS ALIVE

One JSON line per write to the diffs topic goes to LAPS: `own_ms`, from the moment its records left the
consumer to the moment the sink has them, without the time in the graph and on the broker in between
(`graph_ms`, `topics_ms`), `sink_ms` until they are acknowledged, and how many `records` there were.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO, TypeVar

from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from dagmanager.assembly import assemble
from dagmanager.dag.model import Record
from dagmanager.kafka.records import Delivery, OutgoingRecord
from dagmanager.settings.source import load
from flows.heartbeat import Heartbeat
from flows.polling import poll
from flows.recovery import Reading, prepared
from flows.stop import Stop
from flows.submissions import from_topics
from operators.sources import submission_topic

T = TypeVar("T")
EPOCH = timedelta(seconds=0.5)


class Clock:
    """When the records in flight arrived, and the time spent in graph and topics since."""

    def __init__(self, laps: TextIO) -> None:
        self._laps = laps
        self._came: dict[str, float] = {}
        self._elsewhere = {"graph_ms": 0.0, "topics_ms": 0.0}

    def arrive(self, records: Sequence[tuple[str, Record]]) -> None:
        """The consumer has just returned these."""
        if records:
            now = time.perf_counter()
            self._elsewhere = dict.fromkeys(self._elsewhere, 0.0)
            self._came = {key: now for key, _ in records}

    def elsewhere(self, name: str, call: Callable[[], T]) -> T:
        """Add the time of this call to `name`."""
        began = time.perf_counter()
        try:
            return call()
        finally:
            self._elsewhere[name] += (time.perf_counter() - began) * 1_000

    def leave(self, records: Sequence[OutgoingRecord], deliver: Callable[[], T]) -> T:
        """The sink writes these; measure until they are acknowledged."""
        began = time.perf_counter()
        first = min(self._came.values(), default=began)
        found = deliver()
        sink_ms = (time.perf_counter() - began) * 1_000
        spent = (began - first) * 1_000
        lap = {"own_ms": spent - sum(self._elsewhere.values()), **self._elsewhere, "sink_ms": sink_ms}
        self._laps.write(json.dumps({"records": len(self._came), "chunks": len(records), **lap}) + "\n")
        self._laps.flush()
        return found


class Clocked:
    """A port whose calls are timed."""

    def __init__(self, inner: Any, clock: Clock, name: str) -> None:
        self._inner, self._clock, self._name = inner, clock, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if not callable(found):
            return found
        return lambda *given, **named: self._clock.elsewhere(self._name, lambda: found(*given, **named))


class ClockedDelivery:
    """The producer of the diff sink."""

    def __init__(self, inner: Delivery, clock: Clock) -> None:
        self._inner, self._clock = inner, clock

    def deliver(self, records: Sequence[OutgoingRecord]) -> tuple[int, ...]:
        """A write ends the flow's own part."""
        return self._clock.leave(records, lambda: self._inner.deliver(records))


def clocked(config: str, clock: Clock, stopping: Stop) -> tuple[Any, Dataflow]:
    """The engine and the flow on the servers of the settings."""
    settings, _ = load(config, {})
    assembled = assemble(settings)
    broker, engine = assembled.broker, assembled.engine
    if broker is None:
        msg = "the settings name no Kafka"
        raise TypeError(msg)
    graph, topics = Clocked(engine.graph, clock, "graph_ms"), Clocked(engine.topics, clock, "topics_ms")
    engine = replace(engine, graph=graph, topics=topics)
    answers = ClockedDelivery(broker.answers, clock)
    assembled = replace(assembled, engine=engine, broker=replace(broker, answers=answers))
    assert assembled.broker is not None
    watch_reads(clock)
    return engine, from_topics(assembled, assembled.broker, stopping)[0]


def watch_reads(clock: Clock) -> None:
    """Record when the consumer returns records."""
    reader = submission_topic.TopicPartitionReader
    plain = reader.next_batch

    def next_batch(self: submission_topic.TopicPartitionReader) -> Iterable[tuple[str, Record]]:
        found = list(plain(self))
        clock.arrive(found)
        return found

    reader.next_batch = next_batch  # type: ignore[method-assign]  # the method is wrapped, the class stays


def main(config: str, recovery: str, laps: str, alive: str) -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    stopping = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with Path(laps).open("w", encoding="utf-8") as kept:
        engine, flow = clocked(config, Clock(kept), stopping)
        with (
            prepared(Path(recovery), flow, Reading("benchmark")) as place,
            poll(engine, 5.0, stopping),
            Heartbeat(Path(alive), lambda: "ok").beating(5.0),
        ):
            cli_main(flow, epoch_interval=EPOCH, recovery_config=place)


if __name__ == "__main__":
    main(*sys.argv[1:])
