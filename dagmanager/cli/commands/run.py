"""`run`: becomes the flow's own process, so that its signals and its exit code are those of the command.

The flow is another entry point: it is started, never imported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from dagmanager.cli.framework.arguments import Parser
from dagmanager.settings.run_options import RUN_OPTIONS


def add_arguments(parser: Parser) -> None:
    """The runner's options, as its own process reads them."""
    for option in RUN_OPTIONS:
        if option.kind is bool:
            parser.add_argument(option.flag, action="store_true", default=None, help=option.help)
            continue
        shown = option.help if option.default is None else f"{option.help} (default {option.default})"
        parser.add_argument(option.flag, metavar=option.metavar, type=option.kind, default=None, help=shown)
    parser.examples(
        "{prog} --submissions submissions.jsonl --results results",
        "{prog} --submissions dags/ --results results --store dagmanager.sqlite",
        "producer | {prog} --submissions -",
    )


def run(args: argparse.Namespace) -> int:
    """Does not return: the process continues as the flow.

    Signals are blocked until the flow has its handlers: a new interpreter would show a traceback, or die.
    """
    words = [sys.executable, "-m", "flows.run"]
    for option in RUN_OPTIONS:
        value = getattr(args, option.flag.lstrip("-").replace("-", "_"))
        if value is not None:
            words += [option.flag] if option.kind is bool else [option.flag, str(value)]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, words)
