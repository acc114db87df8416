"""A flow process that is going to die: `flows.runner` over fused ports, told by one JSON value.

`python -m chaos.victim '{"config": …, "recovery": …}'` lives such a life by hand. Its recovery folder is
that of the real runner, which goes on from it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from chaos.points import (
    Charge,
    Fuse,
    FusedDelivery,
    FusedEvents,
    FusedGraph,
    FusedLog,
    FusedSource,
    FusedTopics,
)
from dagmanager.assembly import Assembled, assemble
from dagmanager.settings.source import load
from dagmanager.settings.table import Settings
from flows.failures import explained
from flows.polling import poll
from flows.recovery import prepared
from flows.submissions import Sinks, build
from operators.partition_share import PartitionShare
from operators.patience import Patience
from operators.submission_topic import SubmissionsAt, SubmissionTopic
from sinks.dead_letters import dead_letter_topic
from sinks.diff_chunks import diff_chunk_topic
from sinks.queue_events import QueueEventsSink

AWAY = 4


class Life(msgspec.Struct, frozen=True):
    """What one process is told. `share` as in `submissions_partitions`; the log is appended to."""

    config: str
    recovery: str
    share: str
    log: str
    charge: Charge = Charge()
    epoch_seconds: float = 0.1
    batch_records: int = 4


def live(told: bytes) -> None:
    """Until killed, or stopped by SIGTERM; leaves with the exit codes of `flows.run`."""
    life = msgspec.json.decode(told, type=Life)
    log = os.open(life.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s"
    )
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    logging.info("a life begins: %s", life.charge)
    try:
        _run(life, stopping)
    except BaseException as failed:  # a panic of Bytewax's is no Exception
        # What Bytewax wraps is told as flows.runner tells it.
        known = explained(failed, Path(life.recovery))
        if known is None:
            raise
        logging.warning("%s: %s", type(known).__name__, known)
        sys.exit(AWAY if known.is_retryable() else 1)


def _run(life: Life, stopping: threading.Event) -> None:
    settings, _ = load(life.config, {})
    settings = msgspec.structs.replace(settings, submissions_partitions=life.share)
    fuse = Fuse(life.charge)
    assembled = _fused(assemble(settings), fuse)
    flow = _flow(assembled, settings, fuse, stopping, life.batch_records)
    # In the words of flows.runner, so that it goes on from this folder.
    read_from = f"topic {settings.submissions_topic}"
    with (
        prepared(Path(life.recovery), flow, read_from) as recovery,
        poll(assembled.engine, settings.claim_poll_seconds, stopping),
    ):
        cli_main(flow, epoch_interval=timedelta(seconds=life.epoch_seconds), recovery_config=recovery)


def _fused(assembled: Assembled, fuse: Fuse) -> Assembled:
    engine = assembled.engine
    fused = replace(
        engine,
        graph=FusedGraph(engine.graph, fuse),
        topics=FusedTopics(engine.topics, fuse),
        events=FusedEvents(engine.events, fuse),
        admin_log=FusedLog(engine.admin_log, fuse),
    )
    return replace(assembled, engine=fused)


def _flow(
    assembled: Assembled, settings: Settings, fuse: Fuse, stopping: threading.Event, batch_records: int
) -> Dataflow:
    """As `flows.submissions.from_topics`, with a fuse in the source and in the sinks."""
    broker = assembled.broker
    if broker is None:
        msg = "the settings name no Kafka"
        raise TypeError(msg)
    engine, patience = assembled.engine, Patience(stopping.wait, stopping.is_set)
    at = SubmissionsAt(
        broker.address, settings.submissions_topic, PartitionShare(broker.partitions), batch_records
    )
    diffs, letters = (FusedDelivery(broker.producer, fuse, point) for point in ("emit", "bury"))
    sinks = Sinks(
        diff_chunk_topic(settings.diffs_topic, diffs, patience),
        dead_letter_topic(settings.dead_letters_topic, letters, patience),
        QueueEventsSink(lambda: patience(engine.publish)),
    )
    return build(assembled, FusedSource(SubmissionTopic(at, stopping.is_set), fuse), sinks, patience)


if __name__ == "__main__":
    live(sys.argv[1].encode())
