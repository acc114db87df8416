"""Our own runner: sub-second epochs, drain on SIGTERM, exit codes a supervisor can use.

`qmtl service dagmanager run` becomes this process. SIGTERM or SIGINT: no more is read, what was read is
answered, exit 0; a second signal ends it at once, and the recovery folder knows where to go on. Exit 2
for settings that do not hold, 4 when a store is away, 1 when the flow failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from dagmanager.assembly import assemble
from dagmanager.engine.reading import Reader, Unsaid
from dagmanager.errors import DagManagerError, SettingsError
from dagmanager.settings.run_options import RUN_OPTIONS, RunOption
from dagmanager.settings.source import load
from dagmanager.settings.table import Settings
from flows.polling import poll
from flows.recovery import prepare
from flows.submissions import from_files
from flows.tally import Tally

WORKERS_MAX = 64
EPOCH_SECONDS_MAX = 3_600
logger = logging.getLogger("dagmanager.flow")


def main(argv: list[str] | None = None) -> int:
    """Run the submissions flow until its input ends or it is told to stop."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    given = _parser().parse_args(argv)
    try:
        return _run(given, _settings(given))
    except SettingsError as wrong:
        sys.stderr.write(f"error: {wrong}\n")
        return 2
    except DagManagerError as wrong:
        sys.stderr.write(f"error: {wrong}\n")
        return 4 if wrong.is_retryable() else 1


def _settings(given: argparse.Namespace) -> Settings:
    settings, findings = load(given.config, os.environ)
    empty = [finding.field or "" for finding in findings if finding.code == "empty_field"]
    if empty:
        logger.info("no servers: graph and topics are embedded (%s are empty)", ", ".join(empty))
    for finding in findings:
        if finding.code != "empty_field":
            logger.warning("%s", finding.message)
    changed = {
        each.setting: value for each, value in options_given(given) if each.setting and value is not None
    }
    nameless = [each.flag for each, value in options_given(given) if value == ""]
    if nameless:
        msg = f"{nameless[0]} is given, but empty"
        raise SettingsError(msg)
    if given.workers < 1 or given.workers > WORKERS_MAX or not 0 <= given.epoch_seconds <= EPOCH_SECONDS_MAX:
        msg = f"--workers takes 1 to {WORKERS_MAX}, --epoch-seconds 0 to {EPOCH_SECONDS_MAX}"
        raise SettingsError(msg)
    return msgspec.structs.replace(settings, **changed)


def options_given(given: argparse.Namespace) -> list[tuple[RunOption, object]]:
    """Every option with its value."""
    return [(each, getattr(given, each.flag.removeprefix("--").replace("-", "_"))) for each in RUN_OPTIONS]


def _run(given: argparse.Namespace, settings: Settings) -> int:
    source = settings.submissions_path
    if given.recovery and source == "-":
        msg = "--recovery needs a file or folder: standard input cannot be read again after a crash"
        raise SettingsError(msg)
    stopping = threading.Event()
    _drain_on_signals(stopping)
    assembled = assemble(settings)
    unsaid = Unsaid(given.world or "", given.domain or "")
    reader = Reader(msgspec.structs.replace(assembled.read_options, unsaid=unsaid), assembled.observer)
    flow = from_files(assembled, source, Path(settings.results_path), stopping, reader)
    heartbeat = Path(given.heartbeat) if given.heartbeat else None
    tally = Tally(assembled.observer)
    reader.observer = assembled.engine.observer = tally
    with poll(assembled.engine, settings.claim_poll_seconds, stopping, heartbeat):
        _execute(flow, given)
    for kind, count in sorted(reader.foreign.items()):
        logger.info("skipped %d records of another kind: %s", count, kind)
    logger.info("%s; answers in %s", tally.summary(), Path(settings.results_path) / "diffs.jsonl")
    if reader.isolated:
        logger.warning(
            "%d of them ran isolated (safe mode): they named no execution domain, or a backtest without "
            "as_of; --domain speaks for those that name none",
            reader.isolated,
        )
    how = (
        f"the same command goes on where it stopped ({given.recovery})" if given.recovery else "no --recovery"
    )
    logger.info("drained: all that was read is answered; %s", how) if stopping.is_set() else logger.info(
        "done"
    )
    return 0


def _drain_on_signals(stopping: threading.Event) -> None:
    """The first signal stops the reading; the second has its usual effect."""

    def stop(*_: object) -> None:
        stopping.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)


def _execute(flow: Dataflow, given: argparse.Namespace) -> None:
    """Run to the end of the input. A store that was away while stopping comes out as itself."""
    recovery = prepare(Path(given.recovery), flow) if given.recovery else None
    try:
        cli_main(
            flow,
            workers_per_process=given.workers,
            epoch_interval=timedelta(seconds=given.epoch_seconds),
            recovery_config=recovery,
        )
    except Exception as failed:
        cause: BaseException | None = failed
        while cause is not None and not isinstance(cause, DagManagerError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dagmanager run",
        description="Run the submissions flow: submissions in, diffs out.",
        epilog="example: dagmanager run --submissions submissions.jsonl --results results",
    )
    for option in RUN_OPTIONS:
        parser.add_argument(
            option.flag, metavar=option.metavar, type=option.kind, default=option.default, help=option.help
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
