"""A flow process that is going to die: the flow of `flows.runner` over watched ports, described by one JSON value.

`python -m chaos.victim '{"config": …, "recovery": …}'` lives such a life by hand. Its recovery folder is
that of the real runner, which goes on from it, attempts included.
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

from chaos.points import Charge, Fuse
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

AWAY: Final = 4


class Life(msgspec.Struct, frozen=True):
    """What one process is started with. `share` as in `submissions_partitions`; the log is appended to."""

    config: str
    recovery: str
    share: str
    log: str
    charge: Charge = Charge()
    epoch_seconds: float = 0.1


def live(given: bytes) -> None:
    """Until killed, or stopped by SIGTERM; leaves with the exit codes of `flows.run`."""
    life = msgspec.json.decode(given, type=Life)
    log = os.open(life.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(name)s: %(message)s"
    )
    stopping = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    logging.info("a life begins: %s", life.charge)
    try:
        _run(life, stopping)
    except BaseException as failed:  # a panic of Bytewax's is no Exception
        # What Bytewax wraps is reported as flows.runner does.
        known = explained(failed, Path(life.recovery))
        if known is None:
            raise
        logging.warning("%s: %s", type(known).__name__, known)
        sys.exit(AWAY if known.is_retryable() else 1)


def may_die(recovery: Path) -> bool:
    """Whether no record was in hand at so many deaths that one more would have it set aside.

    The records that a process died over are counted at its successor's start, and forgotten once answered.
    """
    path = recovery / ATTEMPTS
    if not path.exists():
        return True
    suspects = msgspec.json.decode(path.read_bytes(), type=list[PoisonCandidate])
    return all(each.attempts < ATTEMPTS_MAX - 1 for each in suspects)


def _run(life: Life, stopping: Stop) -> None:
    settings, _ = load(life.config, {})
    settings = msgspec.structs.replace(settings, submissions_partitions=life.share)
    folder = Path(life.recovery)
    fuse = Fuse(life.charge, lambda: may_die(folder))
    assembled = assemble(settings)
    broker = assembled.broker
    if broker is None:
        msg = "the settings name no Kafka"
        raise TypeError(msg)
    points = {settings.diffs_topic: "emit", settings.dead_letters_topic: "bury"}
    broker = replace(
        broker,
        answers=WatchedDelivery(broker.answers, fuse, points),
        producer=WatchedDelivery(broker.producer, fuse, points),
    )
    assembled = replace(assembled, engine=watched(assembled.engine, fuse), broker=broker)
    kept = Kept(StartFile(folder))
    ends = topic_ends(assembled.engine, broker, stopping, kept)
    source = WatchedSource(ends.source, fuse)
    flow = build(assembled, source, ends.sinks, ends.retry, quarantine=kept.quarantine)
    # In the words of flows.runner, so that it goes on from this folder.
    read_from = f"topic {settings.submissions_topic}"
    with (
        prepared(folder, flow, Reading(read_from)) as recovery,
        counted(kept.quarantine, folder),
        poll(assembled.engine, settings.claim_poll_seconds, stopping),
    ):
        cli_main(flow, epoch_interval=timedelta(seconds=life.epoch_seconds), recovery_config=recovery)


if __name__ == "__main__":
    live(sys.argv[1].encode())
