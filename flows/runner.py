"""One run of the submissions flow, from settings to the last answer; `run.py` calls it."""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from dagmanager.assembly import Assembled, assemble
from dagmanager.disk.replace_file import temporary_of
from dagmanager.engine.context_defaults import ContextDefaults
from dagmanager.engine.model.observer import Observers
from dagmanager.engine.reader import Reader
from dagmanager.errors import SettingsError
from dagmanager.metrics import ProgressCollector, PrometheusObserver
from dagmanager.settings.run_options import RUN_OPTIONS, RunOption
from dagmanager.settings.table import Settings
from dagmanager.terminal.progress import StatusLine, progress
from dagmanager.terminal.settings_report import load_settings
from flows.attempt_files import counted
from flows.failures import explained
from flows.heartbeat import Heartbeat
from flows.polling import poll
from flows.recovery import Reading, StartFile, check_store, prepared
from flows.refusals import RefusalLog
from flows.stop import Stop
from flows.stop_signals import StopSignals
from flows.store_watch import watched
from flows.submissions import Kept, from_files, from_topics
from flows.tally import Tally
from operators.sources.submission_files import absolute

WORKERS_MAX = 64
EPOCH_SECONDS_MAX = 3_600
IDLE_SECONDS = 3_600.0
# Longer than a round that waits for the time limits of its stores.
ROUND_SECONDS_MAX = 60.0
# What happens without the address of a server.
_WITHOUT = {
    "neo4j_dsn": "the graph is embedded",
    "kafka_dsn": "topics are embedded; submissions and answers are files",
    "controlbus_dsn": "no control events are sent",
}
logger = logging.getLogger("dagmanager.flow")


def run(given: argparse.Namespace, signals: StopSignals, status: StatusLine) -> int:
    """Run the flow until its input ends or a signal stops it; how many submissions were refused.

    Blocks until everything that was read is answered. Raises `CommandError` for invalid settings, `DagManagerError` for
    what an operator or a supervisor can fix, and any other exception for a defect.
    """
    refusals = RefusalLog(status)
    try:
        _run(given, _settings(given), signals, refusals)
        return refusals.count
    except BaseException as failed:  # a panic of Bytewax is not an Exception
        known = explained(failed, Path(given.recovery) if given.recovery else None)
        if isinstance(known, SettingsError):
            known = _with_option(known, given)
        if known is None or known is failed:
            raise
        raise known from None


def _with_option(error: SettingsError, given: argparse.Namespace) -> SettingsError:
    """An error of a setting whose value an option gave names that option instead."""
    for option, value in options_given(given):
        if option.setting and value is not None and str(error).startswith(f"{option.setting}: "):
            return SettingsError(option.flag + str(error).removeprefix(option.setting))
    return error


def _settings(given: argparse.Namespace) -> Settings:
    settings = load_settings(given.config, os.environ)
    for name, instead in _WITHOUT.items():
        if not getattr(settings, name):
            logger.info("%s is empty: %s", name, instead)
    changed = {
        each.setting: value for each, value in options_given(given) if each.setting and value is not None
    }
    if share := _share(given):
        changed["submissions_partitions"] = share
    nameless = [each.flag for each, value in options_given(given) if value == ""]
    if nameless:
        msg = f"{nameless[0]} has an empty value"
        raise SettingsError(msg)
    if not 1 <= given.workers <= WORKERS_MAX:
        msg = f"--workers takes 1 to {WORKERS_MAX}, not {given.workers}"
        raise SettingsError(msg)
    if not 0 <= given.epoch_seconds <= EPOCH_SECONDS_MAX:
        msg = f"--epoch-seconds takes 0 to {EPOCH_SECONDS_MAX}, not {given.epoch_seconds:g}"
        raise SettingsError(msg)
    chosen: Settings = msgspec.structs.replace(settings, **changed)
    if chosen.kafka_dsn and (given.submissions or given.results):
        msg = "--submissions and --results are for runs without Kafka, but kafka_dsn is set"
        raise SettingsError(msg)
    if chosen.neo4j_dsn and given.store:
        msg = "--store is for runs without Neo4j, but neo4j_dsn is set"
        raise SettingsError(msg)
    return chosen


def _share(given: argparse.Namespace) -> str:
    """`--index 1 --of 4` as the settings say it: `1/4`."""
    if (given.index is None) != (given.of is None):
        msg = "--index and --of go together: --index 1 --of 4 reads every fourth partition"
        raise SettingsError(msg)
    if given.index is None:
        return ""
    if not 0 <= given.index < given.of:
        msg = f"--index {given.index} --of {given.of}: an index goes from 0 to one below --of"
        raise SettingsError(msg)
    if given.partitions is not None:
        msg = "--partitions and --index are two ways to choose partitions: give one"
        raise SettingsError(msg)
    return f"{given.index}/{given.of}"


def options_given(given: argparse.Namespace) -> list[tuple[RunOption, object]]:
    """Every option with its value."""
    return [(each, getattr(given, each.flag.removeprefix("--").replace("-", "_"))) for each in RUN_OPTIONS]


def _run(given: argparse.Namespace, settings: Settings, signals: StopSignals, refusals: RefusalLog) -> None:
    stopping = signals.stop
    if given.recovery and not settings.kafka_dsn and settings.submissions_path == "-":
        msg = "--recovery needs a file or folder: standard input cannot be read again after a crash"
        raise SettingsError(msg)
    folder = Path(given.recovery) if given.recovery else None
    if folder and not settings.neo4j_dsn:
        check_store(folder, settings.memory_repo_path)
    heartbeat = _heartbeat(given.heartbeat)
    signals.waiting_steps = lambda: ["start"]
    assembled = assemble(settings)
    defaults = ContextDefaults(given.world or "", given.domain or "")
    options = msgspec.structs.replace(assembled.read_options, context_defaults=defaults)
    reader = Reader(options, assembled.observer)
    kept = Kept(StartFile(folder) if folder else None, answered=refusals.note)
    flow, reading = _flow(assembled, settings, stopping, reader, kept)
    tally = Tally()
    signals.waiting_steps = tally.waiting_steps
    reader.observer = assembled.engine.observer = Observers(tally, assembled.observer)
    if stopping.is_set():
        logger.info("stopped before anything was read")
        return
    with (
        prepared(folder, flow, reading) if folder else nullcontext() as recovery,
        counted(kept.quarantine, folder) if folder else nullcontext() as attempts,
        progress(lambda: _progress_text(tally, stopping), refusals.status),
        watched(assembled.ping_graph, lambda: assembled.engine.observer),
        poll(assembled.engine, settings.claim_poll_seconds, stopping) as round_s,
        Heartbeat(heartbeat, lambda: heartbeat_text_of(tally, round_s())).beating(settings.claim_poll_seconds)
        if heartbeat
        else nullcontext(),
    ):
        if attempts is not None:
            signals.interrupted = attempts.interrupt
            if stopping.is_set():  # the signal came before
                attempts.interrupt()
        if assembled.broker is not None and not reading.parts:
            _idle(settings, stopping)
        else:
            cli_main(
                flow,
                workers_per_process=given.workers,
                epoch_interval=timedelta(seconds=given.epoch_seconds),
                recovery_config=recovery,
            )
    refusals.finish()
    _summarize(given, settings, reader, tally, stopping)


def heartbeat_text_of(tally: Tally, round_s: float) -> str:
    """`ok`, or what waits; also a round of the poll without an end, which no store reports."""
    text = tally.heartbeat_text()
    if text == "ok" and round_s > ROUND_SECONDS_MAX:
        return f"waiting: poll: a round has taken {round_s:.0f} s so far"
    return text


def _progress_text(tally: Tally, stopping: Stop) -> str:
    """For a terminal: how many are answered, and that a first Ctrl-C was noticed."""
    shutting_down = "shutting down, Ctrl-C again aborts; " if stopping.is_set() else ""
    return shutting_down + tally.summary()


def _heartbeat(given: str | None) -> Path | None:
    """Check that the file can be written, without writing it; `SettingsError` if not.

    Otherwise a health check would fail later for no visible reason. The file is not created (or touched) before the flow
    is up, so that a health check waits for that.
    """
    if not given:
        return None
    path = Path(given)
    fresh = temporary_of(path)
    try:
        fresh.touch()
        fresh.unlink()
    except OSError as error:
        msg = f"--heartbeat {path} cannot be written: {error.strerror}"
        raise SettingsError(msg) from error
    return path


def _flow(
    assembled: Assembled,
    settings: Settings,
    stopping: Stop,
    reader: Reader,
    kept: Kept,
) -> tuple[Dataflow, Reading]:
    """The dataflow, and what it reads. An invalid share is refused here: Bytewax would panic."""
    broker = assembled.broker
    if broker is None:
        path, results = settings.submissions_path, Path(settings.results_path)
        return from_files(assembled, path, results, stopping, reader, kept), Reading(absolute(path))
    if kept.start is None:
        logger.warning("no --recovery: each start reads %s from its first record", settings.submissions_topic)
    flow, source = from_topics(assembled, broker, stopping, reader, kept)
    if isinstance(assembled.observer, PrometheusObserver):
        assembled.observer.registry.register(ProgressCollector(source.progress))
    parts = tuple(source.list_parts())
    numbers = ", ".join(part.rpartition("/")[2] for part in parts)
    logger.info(
        "reading topic %s, partitions %s; profile %s", settings.submissions_topic, numbers, settings.profile
    )
    return flow, Reading(f"topic {settings.submissions_topic}", source.topic_id, parts)


def _idle(settings: Settings, stopping: Stop) -> None:
    """Block until the run is stopped. With a share without partitions the process stays up and polls: if it ended, a
    supervisor would restart it again and again."""
    logger.warning(
        "submissions_partitions: %s is a share without partitions of topic %s: nothing to read until the topic has "
        "more partitions and this process is restarted",
        settings.submissions_partitions,
        settings.submissions_topic,
    )
    while not stopping.wait(IDLE_SECONDS):
        pass


def _report_leak(settings: Settings) -> None:
    """Warn how many topic ids the Kafka client library leaked: the metric of it is not served yet."""
    if not settings.kafka_dsn:
        return
    # Imported here: without Kafka a run starts without its client.
    from dagmanager.kafka.topic_id_leak_workaround import TOPIC_IDS

    if leaked := TOPIC_IDS.leaked():
        logger.warning("the Kafka client library leaked %d topic ids, about 100 bytes each", leaked)


def _summarize(
    given: argparse.Namespace, settings: Settings, reader: Reader, tally: Tally, stopping: Stop
) -> None:
    """Log the summary of the run, the totals last."""
    for kind, count in sorted(reader.foreign.items()):
        logger.info("skipped %d records of another kind: %s", count, kind)
    if reader.isolated:
        logger.warning(
            "%d ran isolated (safe mode): without an execution domain, as a backtest without as_of, or because the "
            "Gateway asked for it; --domain sets the default domain",
            reader.isolated,
        )
    _report_leak(settings)
    if stopping.is_set():
        resume = (
            f"resume with --recovery {given.recovery}" if given.recovery else "no --recovery to resume with"
        )
        logger.info("shut down cleanly: every record that was read is answered; %s", resume)
    files = Path(settings.results_path) / "diffs.jsonl"
    where = f"topic {settings.diffs_topic}" if settings.kafka_dsn else files
    logger.info("%s; answers in %s", tally.summary(), where)
