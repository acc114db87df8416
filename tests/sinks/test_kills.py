"""kill -9 at any moment: what was read is on the output topic in the end, at least once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tests.kafka.topics import fill, make, values
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 400
KILLS = 6


def lost(servers: str, admin: AdminClient, prefix: str, folder: Path, kind: str) -> set[bytes]:
    """Records that never left, after some kills and a run to the end."""
    source, target = make(admin, f"{prefix}in"), make(admin, f"{prefix}out")
    sent = [b"%d" % number for number in range(RECORDS)]
    fill(servers, source, sent)
    command = [sys.executable, "-m", "tests.sinks.killed_flow", servers, source, target, kind, str(folder)]
    chance = random.Random(7)
    for _ in range(KILLS):
        before = len(values(servers, target))
        process = subprocess.Popen(command, cwd=ROOT)
        goal = before + chance.randint(20, 60)
        until(lambda: len(values(servers, target)) >= goal)  # noqa: B023 - called before the next round
        process.kill()
        process.wait()
    process = subprocess.Popen(command, cwd=ROOT)
    until(lambda: sent[-1] in values(servers, target))
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    return set(sent) - {value for value in values(servers, target) if value is not None}


def test_our_sink_loses_nothing(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, tmp_path: Path
) -> None:
    assert lost(kafka, kafka_admin, topic_prefix, tmp_path / "recovery", "ours") == set()


def test_the_stock_sink_loses_some_so_these_kills_show_it(
    kafka: str, kafka_admin: AdminClient, topic_prefix: str, tmp_path: Path
) -> None:
    # Which records are on their way at a kill is a matter of timing: one round with a loss is enough.
    rounds = (
        lost(kafka, kafka_admin, f"{topic_prefix}{n}.", tmp_path / f"recovery{n}", "stock") for n in range(5)
    )
    assert any(rounds)
