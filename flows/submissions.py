"""The flow: submissions → diff chunks, queue events, dead letters. Wiring only.

`python -m bytewax.run flows.submissions` calls `flow()`, which reads the settings; `build` wires any
engine to any source and sinks. Step ids are frozen: Bytewax drops the state of a renamed step.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource
from bytewax.outputs import FixedPartitionedSink, Sink

from dagmanager.assembly import ADMIN_LOG_FILE, EVENTS_FILE, Assembled, assemble, now_ms
from dagmanager.dag.model import Record
from dagmanager.disk.line_file import check_appendable
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.engine.engine import Engine
from dagmanager.engine.reader import Reader
from dagmanager.engine.stages import Answer, Refused
from dagmanager.engine.wire.message import Message
from dagmanager.settings.source import load
from flows.marked_sinks import MarkedSink
from flows.polling import poll
from flows.stop import Stop
from flows.store_watch import watched
from operators.finisher import Finisher, PendingResult
from operators.poison_quarantine import PoisonQuarantine, origin_of
from operators.result_order import ResultOrder
from operators.sources.partition_share import PartitionShare
from operators.sources.paused_input import PausedInput
from operators.sources.submission_files import RunStart, SubmissionFiles
from operators.sources.submission_topic import SubmissionsAt, SubmissionTopic
from operators.step_guard import StepGuard
from operators.steps.canonicalize import canonicalize
from operators.steps.classify import classify
from operators.steps.exchange import exchange
from operators.steps.hashing import hash_ids
from operators.steps.lookup import lookup
from operators.steps.messages import dead_letters, diff_messages
from operators.steps.upsert import upsert
from operators.store_retry import RetryPolicy
from sinks.dead_letters import FILE as DEAD_LETTERS_FILE
from sinks.dead_letters import dead_letter_file, dead_letter_topic
from sinks.diff_chunks import FILE as DIFFS_FILE
from sinks.diff_chunks import diff_chunk_file, diff_chunk_topic
from sinks.queue_events import QueueEventsSink

if TYPE_CHECKING:
    from dagmanager.connect import Broker

FLOW_ID = "dagmanager_submissions"
# Steps of the two sinks that write answers.
DIFFS, DEAD_LETTERS = "diffs", "dead_letters"


def ignore(_: Answer | Refused) -> None:
    """For runs that do not observe answers."""


@dataclass(frozen=True)
class Kept:
    """What a run takes over from its recovery folder (none of it without a folder), and who observes its answers."""

    start: RunStart | None = None
    quarantine: PoisonQuarantine = field(default_factory=PoisonQuarantine)
    answered: Callable[[Answer | Refused], None] = ignore


@dataclass(frozen=True)
class Sinks:
    """The sinks of the three output streams; `answered` is called with each answer and refusal, in a worker's thread."""

    diffs: FixedPartitionedSink[Message, Any]
    dead_letters: FixedPartitionedSink[Message, Any]
    queue_events: Sink[tuple[str, None]]
    answered: Callable[[Answer | Refused], None] = ignore

    def marked(self, quarantine: PoisonQuarantine) -> Sinks:
        """The same sinks, with records marked as in flight while their answers are written. Events are not marked: they
        come from the outbox, so that the quarantine of a record would not remove them."""
        return Sinks(
            MarkedSink(self.diffs, DIFFS, quarantine),
            MarkedSink(self.dead_letters, DEAD_LETTERS, quarantine),
            self.queue_events,
            self.answered,
        )


@dataclass(frozen=True)
class TopicEnds:
    """Source and sinks of the flow on Kafka, and the retry policy of its steps."""

    source: SubmissionTopic
    sinks: Sinks
    retry: RetryPolicy


def build(
    assembled: Assembled,
    source: FixedPartitionedSource[tuple[str, Record], Any],
    sinks: Sinks,
    retry: RetryPolicy,
    reader: Reader | None = None,
    quarantine: PoisonQuarantine | None = None,
) -> Dataflow:
    """The dataflow over these parts. Reads nothing and starts no thread."""
    guard = StepGuard(quarantine or PoisonQuarantine(), retry)
    engine, reader = assembled.engine, reader or assembled.reader()
    flow, sinks = Dataflow(FLOW_ID), sinks.marked(guard.quarantine)
    order = ResultOrder[PendingResult]()
    bytes_max = reader.options.limits.bytes_max
    paused = PausedInput(source, order.has_room, retry.stopping)
    records = exchange("exchange", op.input("input", flow, paused))
    canonical = canonicalize("canonicalize", records, reader, guard)
    hashed = hash_ids("hash", canonical, reader, guard)
    known = lookup("lookup", hashed, engine, guard)
    planned = classify("classify", known, engine, guard)
    finisher = Finisher(engine, reader, guard, background=assembled.slow_topics)
    answered = upsert("upsert", planned, engine, guard, finisher, order)
    op.output(DIFFS, diff_messages("diff_messages", answered, guard), sinks.diffs)
    op.output(
        DEAD_LETTERS, dead_letters("dead_letter_messages", answered, guard, bytes_max), sinks.dead_letters
    )

    def settle(item: Answer | Refused) -> None:
        sinks.answered(item)
        guard.quarantine.answered(origin_of(item))

    gone = op.map_value("answered", answered, settle)
    op.output("queue_events", gone, sinks.queue_events)
    return flow


def from_files(
    assembled: Assembled,
    submissions: str,
    results: Path,
    stopping: Stop,
    reader: Reader | None = None,
    kept: Kept | None = None,
) -> Dataflow:
    """The dataflow of a run without Kafka: files in, JSON lines out.

    Checks first that all files can be read and written. `SettingsError` when one cannot; blocks while the disk is full.
    """
    engine, kept = assembled.engine, kept or Kept()
    retry = _retry_policy(engine, stopping, kept)
    bytes_max = assembled.read_options.limits.bytes_max
    source = SubmissionFiles(submissions, stopping.is_set, now_ms, bytes_max, kept.start)
    source.check()
    retry(lambda: _check(results))
    return build(
        assembled,
        source,
        Sinks(
            diff_chunk_file(results, retry.in_step(DIFFS)),
            dead_letter_file(results, retry.in_step(DEAD_LETTERS)),
            _events(engine, retry, kept),
            kept.answered,
        ),
        retry,
        reader,
        kept.quarantine,
    )


def from_topics(
    assembled: Assembled,
    broker: Broker,
    stopping: Stop,
    reader: Reader | None = None,
    kept: Kept | None = None,
) -> tuple[Dataflow, SubmissionTopic]:
    """The dataflow with Kafka in and out, and its source, which has the read progress. Makes no request yet."""
    kept = kept or Kept()
    ends = topic_ends(assembled.engine, broker, stopping, kept)
    return build(assembled, ends.source, ends.sinks, ends.retry, reader, kept.quarantine), ends.source


def topic_ends(engine: Engine, broker: Broker, stopping: Stop, kept: Kept) -> TopicEnds:
    """Source, sinks and retry policy for Kafka. Makes no request yet."""
    names, retry = broker.names, _retry_policy(engine, stopping, kept)
    at = SubmissionsAt(broker.address, names["submissions_topic"], PartitionShare(broker.partitions))
    sinks = Sinks(
        diff_chunk_topic(names["diffs_topic"], broker.answers, retry.in_step(DIFFS)),
        dead_letter_topic(names["dead_letters_topic"], broker.producer, retry.in_step(DEAD_LETTERS)),
        _events(engine, retry, kept),
        kept.answered,
    )
    source = SubmissionTopic(at, stopping.is_set, lambda reason: engine.observer.waiting("input", reason))
    return TopicEnds(source, sinks, retry)


def flow() -> Dataflow:
    """The dataflow for Bytewax's own runner, from settings in the environment. Blocks and raises as `assemble`.

    The poll runs from now on until this process ends, also in a process of a cluster that reads nothing.
    """
    settings, _ = load(None, os.environ)
    assembled, stopping = assemble(settings), Stop()
    if assembled.broker is not None:
        found, _ = from_topics(assembled, assembled.broker, stopping)
    else:
        found = from_files(assembled, settings.submissions_path, Path(settings.results_path), stopping)
    beside = ExitStack()
    beside.enter_context(watched(assembled.ping_graph, lambda: assembled.engine.observer))
    beside.enter_context(poll(assembled.engine, settings.claim_poll_seconds, stopping))
    atexit.register(beside.close)
    return found


def _retry_policy(engine: Engine, stopping: Stop, kept: Kept) -> RetryPolicy:
    """A policy that reports each wait to the engine's observer; a kill during a wait counts for no record."""

    def observe(step: str, reason: str) -> None:
        engine.observer.waiting(step, reason)
        if reason:
            kept.quarantine.clear_marker()

    return RetryPolicy(stopping.wait, stopping.is_set, observe)


def _events(engine: Engine, retry: RetryPolicy, kept: Kept) -> QueueEventsSink:
    waiting = retry.in_step("queue_events")
    return QueueEventsSink(lambda: waiting(engine.publish_own), kept.quarantine.epoch_over)


def _check(results: Path) -> None:
    """Raise for a folder or file that cannot be written, before anything is read."""
    with translated_os_errors(results, "used as results_path"):
        results.mkdir(parents=True, exist_ok=True)
    for name, make in (
        (DIFFS_FILE, True),
        (DEAD_LETTERS_FILE, True),
        (EVENTS_FILE, False),
        (ADMIN_LOG_FILE, False),
    ):
        check_appendable(results / name, create=make)
