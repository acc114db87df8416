"""The runner: sub-second epochs, clean shutdown on SIGTERM, exit codes that a supervisor can use.

`qmtl service dagmanager run` becomes this process. After SIGTERM or SIGINT it reads nothing more, answers what it has
read, and exits with 0. A second signal ends it at once; with a recovery folder the next start resumes. Exit 2 for
invalid settings, files and folders, 4 when a store is unreachable or a disk is full, 1 when the flow failed (or, with
--fail-on-refused, when a submission was refused), 70 for a defect, with its traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from typing import Final

from dagmanager.settings.run_options import RUN_OPTIONS
from flows.native_stderr import panics_held_back
from flows.stop import Stop
from flows.stop_signals import SIGNALS, StopSignals

INTERNAL: Final = 70


def main(argv: list[str] | None = None) -> int:
    """Run the submissions flow until its input ends or a signal stops it; the exit code."""
    signals = StopSignals(Stop())
    with signals.handled():
        return _run(argv, signals)


def run_process() -> int:
    """`main` for a process of its own, whose standard error shows no panic of a failure that was reported."""
    signal.pthread_sigmask(
        signal.SIG_BLOCK, SIGNALS
    )  # a signal must not kill instead of stop, from here to the end
    if os.environ.get("RUST_BACKTRACE") == "full":
        return main()
    os.environ["RUST_BACKTRACE"] = "0"
    with panics_held_back() as reported:
        signals = StopSignals(Stop())
        signals.abort = reported
        with signals.handled():
            code = _run(None, signals)
        if code != INTERNAL:
            reported()
    return code


def _run(argv: list[str] | None, signals: StopSignals) -> int:
    given = run_parser().parse_args(argv)
    # Imported here: it takes half a second, in which a signal must be handled already.
    from dagmanager.errors import DagManagerError, SettingsError
    from dagmanager.terminal.progress import StatusHandler, StatusLine
    from dagmanager.terminal.report import PROGRAM, CommandError, internal_error, report_of, show
    from flows.runner import run

    status = StatusLine(sys.stderr)
    logging.basicConfig(
        handlers=[StatusHandler(status)], level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        refused = run(given, signals, status)
    except CommandError as wrong:
        for each in wrong.findings:
            show(each, PROGRAM)
        return wrong.report.exit
    except DagManagerError as wrong:
        show(report_of(wrong), PROGRAM)
        return 2 if isinstance(wrong, SettingsError) else 4 if wrong.is_retryable() else 1
    except BaseException as defect:  # noqa: BLE001 - a panic of Bytewax is not an Exception
        traceback.print_exception(defect)
        show(internal_error(defect), PROGRAM)
        return INTERNAL
    return 1 if refused and given.fail_on_refused else 0


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
    sys.exit(run_process())
