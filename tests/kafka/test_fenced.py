"""A broker that was paused is fenced when it continues: it answers requests, with an empty list of brokers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.topics.kafka import KafkaTopics
from servers.kafka import KafkaServer
from tests.kafka.topics import SOON_BACK
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[2]
# Longer than the broker's session (SOON_BACK), so that the controller fences it; longer does no harm.
HELD_UP_S = 2.5
FENCED = "no broker has registered yet"
# One that was answered with no brokers often loses its only one (librdkafka 5301), but not each time.
ADMINS = 8
FENCED_ANSWERS = 8
# In a process of its own, because the library's assertion would abort the tests. It writes a line for each round.
ASKING = """
import sys, time
from threading import Event, Thread
from dagmanager.errors import UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress

over = Event()

def ask(admin, number):
    while not over.is_set():
        try:
            assert admin.brokers() == 1
            assert set(admin.describe(["a", "b"])) == {"a"}
            said = "answered"
        except UnavailableError as failure:
            said = failure
        sys.stdout.write(f"{number} {said}\\n")
        sys.stdout.flush()
        time.sleep(0.01)

admins = [KafkaAdmin(KafkaAddress(sys.argv[1], request_s=1.0)) for _ in range(int(sys.argv[2]))]
threads = [Thread(target=ask, args=(admin, number)) for number, admin in enumerate(admins)]
for each in threads:
    each.start()
sys.stdin.read()
over.set()
"""


def test_a_fenced_broker_ends_no_process_and_every_client_is_answered_again(
    kafka: str, tmp_path: Path
) -> None:
    """`kafka` makes sure that the jars are fetched."""
    with KafkaServer(tmp_path / "broker", settings=SOON_BACK) as broker:
        topics = KafkaTopics(KafkaAdmin(KafkaAddress(broker.address)))
        topics.create({"a": TopicSpec(1, 1, -1)})
        until(lambda: "a" in topics.describe(["a"]))
        command = [sys.executable, "-c", ASKING, broker.address, str(ADMINS)]
        rounds, errors = tmp_path / "rounds", tmp_path / "errors"
        with rounds.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=err)

        def lines(start: str, end: str) -> int:
            assert process.poll() is None, errors.read_text()
            said = rounds.read_text().splitlines()
            return sum(line.startswith(start) and line.endswith(end) for line in said)

        def answered() -> list[int]:
            return [lines(f"{number} ", "answered") for number in range(ADMINS)]

        def are_answered_again() -> None:
            before = answered()
            until(lambda: all(now > was + 1 for now, was in zip(answered(), before, strict=True)))

        are_answered_again()

        def pauses_seen_as_fenced() -> int:
            broker.pause()
            time.sleep(HELD_UP_S)
            broker.resume()
            are_answered_again()
            return lines("", FENCED)

        until(lambda: pauses_seen_as_fenced() >= FENCED_ANSWERS, "the library hardly saw a fenced broker")
        process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, errors.read_text()) == (0, "")
