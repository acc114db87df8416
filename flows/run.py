"""Our own runner: sub-second epochs, drain on SIGTERM, exit codes a supervisor can use.

`qmtl service dagmanager run` becomes this process. Exit 0 after a full drain, 2 for settings that do
not hold, 1 when the flow failed.
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
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from dagmanager.assembly import assemble
from dagmanager.errors import DagManagerError, SettingsError
from dagmanager.settings.source import load
from flows.submissions import from_files

RECOVERY_PARTITIONS = 8
logger = logging.getLogger("dagmanager.flow")


def main(argv: list[str] | None = None) -> int:
    """Run the submissions flow until its input ends or it is told to stop."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        return _run(_parser().parse_args(argv))
    except SettingsError as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    except DagManagerError as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 4 if wrong.is_retryable() else 1


def _run(given: argparse.Namespace) -> int:
    settings, findings = load(given.config, os.environ)
    for finding in findings:
        logger.warning("%s", finding.message)
    changed = {
        name: value
        for name, value in (
            ("submissions_path", given.submissions),
            ("results_path", given.results),
            ("memory_repo_path", given.store),
        )
        if value is not None
    }
    settings = msgspec.structs.replace(settings, **changed)
    source = settings.submissions_path
    if source != "-" and not Path(source).exists():
        msg = f"submissions_path: there is no file or folder {source}"
        raise SettingsError(msg)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    flow = from_files(assemble(settings), source, Path(settings.results_path), stopping)
    recovery = _recovery(given.recovery) if given.recovery else None
    cli_main(
        flow,
        workers_per_process=given.workers,
        epoch_interval=timedelta(seconds=given.epoch_seconds),
        recovery_config=recovery,
    )
    logger.info("drained" if stopping.is_set() else "done")
    return 0


def _recovery(folder: Path) -> RecoveryConfig:
    """The recovery store, made when it is not there. Its files hold pickles: nobody else may write."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = folder.stat().st_mode & 0o077
    if mode:
        msg = f"recovery folder {folder} is open to others (mode {mode:03o}); chmod 700 it"
        raise SettingsError(msg)
    if not any(folder.glob("*.sqlite3")):
        init_db_dir(folder, RECOVERY_PARTITIONS)
    return RecoveryConfig(str(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dagmanager run",
        description="Run the submissions flow: submissions in, diffs out.",
        epilog="example: dagmanager run --submissions submissions.jsonl --results results",
    )
    parser.add_argument("--config", help="settings file (else DAGMANAGER_CONFIG)")
    parser.add_argument(
        "--submissions", metavar="PATH", help="file, folder or - (settings: submissions_path)"
    )
    parser.add_argument("--results", metavar="DIR", help="where answers are written (settings: results_path)")
    parser.add_argument(
        "--store", metavar="FILE", help="SQLite file of the graph (settings: memory_repo_path)"
    )
    parser.add_argument("--recovery", metavar="DIR", type=Path, help="resume from here after a stop")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="worker threads (default 1)")
    parser.add_argument(
        "--epoch-seconds", metavar="S", type=float, default=0.5, help="time between snapshots (default 0.5)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
