"""`run`: becomes the flow's own process, so that signals reach it and its exit code is ours.

The flow is another door; it is started, never imported.
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
        shown = option.help if option.default is None else f"{option.help} (default {option.default})"
        parser.add_argument(option.flag, metavar=option.metavar, type=option.kind, default=None, help=shown)
    parser.examples(
        "{prog} --submissions submissions.jsonl --results results",
        "{prog} --submissions dags/ --results results --store dagmanager.sqlite",
        "producer | {prog} --submissions -",
    )


def run(args: argparse.Namespace) -> int:
    """Does not return: the process goes on as the flow.

    A signal on the way waits for the flow, which unblocks it and drains: a new interpreter without a
    handler would answer with a traceback, or die.
    """
    words = [sys.executable, "-m", "flows.run"]
    for option in RUN_OPTIONS:
        value = getattr(args, option.flag.lstrip("-").replace("-", "_"))
        if value is not None:
            words += [option.flag, str(value)]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, words)
