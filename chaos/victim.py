"""A flow process that will be killed: the flow of `flows.runner` over watched ports, described by one JSON value.

`python -m chaos.victim '{"config": …, "recovery": …}'` runs one by hand. Its recovery folder has the format of the real
runner, which continues from it, attempts included.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from bytewax.run import cli_main

from chaos.points import KillSwitch, PlannedKill
from chaos.ports import WatchedDelivery, WatchedSource, watched
from dagmanager.assembly import assemble
from dagmanager.settings.source import load
from flows.attempt_files import FILE as ATTEMPTS
from flows.attempt_files import counted
from flows.failures import explained
from flows.polling import poll
from flows.recovery import Reading, StartFile, prepared
from flows.stop import Stop
from flows.submissions import Kept, build, topic_ends
from operators.poison_quarantine import ATTEMPTS_MAX, PoisonCandidate

EXIT_UNAVAILABLE: Final = 4


class VictimSpec(msgspec.Struct, frozen=True):
    """How one process is started. `share` as in `submissions_partitions`; the log is appended to."""

    config: str
    recovery: str
    share: str
    log: str
    kill_plan: PlannedKill = PlannedKill()
    epoch_seconds: float = 0.1


def run_victim(given: bytes) -> None:
    """Run until killed, or stopped by SIGTERM; exits with the codes of `flows.run`."""
    spec = msgspec.json.decode(given, type=VictimSpec)
    log = os.open(spec.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s"
    )
    stopping = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    logging.info("victim started: %s", spec.kill_plan)
    try:
        _run(spec, stopping)
    except BaseException as failed:  # a panic of Bytewax is a BaseException
        # What Bytewax wraps is reported as flows.runner does.
        known = explained(failed, Path(spec.recovery))
        if known is None:
            raise
        logging.warning("%s: %s", type(known).__name__, known)
        sys.exit(EXIT_UNAVAILABLE if known.is_retryable() else 1)


def may_die(recovery: Path) -> bool:
    """Whether no record has so many counted deaths that one more would put it into quarantine.

    The records in flight at a death are counted at the start of the next process, and cleared once answered.
    """
    path = recovery / ATTEMPTS
    if not path.exists():
        return True
    candidates = msgspec.json.decode(path.read_bytes(), type=list[PoisonCandidate])
    return all(each.attempts < ATTEMPTS_MAX - 1 for each in candidates)


def _run(spec: VictimSpec, stopping: Stop) -> None:
    settings, _ = load(spec.config, {})
    settings = msgspec.structs.replace(settings, submissions_partitions=spec.share)
    folder = Path(spec.recovery)
    kill_switch = KillSwitch(spec.kill_plan, lambda: may_die(folder))
    assembled = assemble(settings)
    broker = assembled.broker
    if broker is None:
        msg = "the settings name no Kafka"
        raise TypeError(msg)
    points = {settings.diffs_topic: "emit", settings.dead_letters_topic: "bury"}
    broker = replace(
        broker,
        answers=WatchedDelivery(broker.answers, kill_switch, points),
        producer=WatchedDelivery(broker.producer, kill_switch, points),
    )
    assembled = replace(assembled, engine=watched(assembled.engine, kill_switch), broker=broker)
    kept = Kept(StartFile(folder))
    ends = topic_ends(assembled.engine, broker, stopping, kept)
    source = WatchedSource(ends.source, kill_switch)
    flow = build(assembled, source, ends.sinks, ends.retry, quarantine=kept.quarantine)
    # The same text as in flows.runner, which would refuse the folder otherwise.
    read_from = f"topic {settings.submissions_topic}"
    with (
        prepared(folder, flow, Reading(read_from)) as recovery,
        counted(kept.quarantine, folder),
        poll(assembled.engine, settings.claim_poll_seconds, stopping),
    ):
        cli_main(flow, epoch_interval=timedelta(seconds=spec.epoch_seconds), recovery_config=recovery)


if __name__ == "__main__":
    run_victim(sys.argv[1].encode())
