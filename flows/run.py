"""The runner: sub-second epochs, clean shutdown on SIGTERM, exit codes that a supervisor can use.

`qmtl service dagmanager run` becomes this process. After SIGTERM or SIGINT it reads nothing more, answers what it has
read, and exits with 0. A second signal ends it at once; with a recovery folder the next start resumes. Exit 2 for
invalid settings, files and folders, 4 when a store is unreachable or a disk is full, 1 when the flow failed (or, with
--fail-on-refused, when a submission was refused).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from dagmanager.settings.run_options import RUN_OPTIONS
from flows.stop import Stop


def main(argv: list[str] | None = None) -> int:
    """Run the submissions flow until its input ends or a signal stops it; the exit code."""
    stopping = Stop()
    _drain_on_signals(stopping)
    given = run_parser().parse_args(argv)
    # Bytewax prints a panic in addition to the error below; without its stack, unless RUST_BACKTRACE=full is set.
    if os.environ.get("RUST_BACKTRACE") != "full":
        os.environ["RUST_BACKTRACE"] = "0"
    # Imported here: it takes half a second, in which a signal would kill instead of drain.
    from dagmanager.errors import DagManagerError, SettingsError
    from dagmanager.terminal.progress import StatusHandler, StatusLine
    from dagmanager.terminal.report import PROGRAM, CommandError, report_of, show
    from flows.runner import run

    status = StatusLine(sys.stderr)
    logging.basicConfig(
        handlers=[StatusHandler(status)], level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        refused = run(given, stopping, status)
    except CommandError as wrong:
        for each in wrong.findings:
            show(each, PROGRAM)
        return wrong.report.exit
    except DagManagerError as wrong:
        show(report_of(wrong), PROGRAM)
        return 2 if isinstance(wrong, SettingsError) else 4 if wrong.is_retryable() else 1
    return 1 if refused and given.fail_on_refused else 0


def _drain_on_signals(stopping: Stop) -> None:
    """Let the first signal stop the reading; the second has its default effect. A signal that arrived while the command
    line became this process was blocked, and is delivered here."""

    def stop(*_: object) -> None:
        stopping.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))


def run_parser() -> argparse.ArgumentParser:
    """The options of `run`, as this process takes them from the command line's."""
    parser = argparse.ArgumentParser(
        prog="dagmanager run",
        description="Run the submissions flow: submissions in, diffs out.",
        epilog="example: dagmanager run --submissions submissions.jsonl --results results",
    )
    for option in RUN_OPTIONS:
        if option.kind is bool:
            parser.add_argument(option.flag, action="store_true", help=option.help)
        else:
            parser.add_argument(
                option.flag,
                metavar=option.metavar,
                type=option.kind,
                default=option.default,
                help=option.help,
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
