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
# In a process of its own, because the library's assertion would abort the tests. It writes a line for each round, and
# takes a new client after a failure: one that was answered with no brokers may never connect again (librdkafka 5301).
ASKING = """
import sys
from threading import Event, Thread
from dagmanager.errors import UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress

address, over = KafkaAddress(sys.argv[1], request_s=5.0), Event()
admin = KafkaAdmin(address)
Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    try:
        assert admin.brokers() == 1
        assert set(admin.describe(["a", "b"])) == {"a"}
        print("answered", flush=True)
    except UnavailableError as failure:
        print(failure, flush=True)
        admin = KafkaAdmin(address)
"""


def test_a_fenced_broker_ends_no_process_and_still_knows_its_topics(kafka: str, tmp_path: Path) -> None:
    """`kafka` makes sure that the jars are fetched."""
    with KafkaServer(tmp_path / "broker", settings=SOON_BACK) as broker:
        topics = KafkaTopics(KafkaAdmin(KafkaAddress(broker.address)))
        topics.create({"a": TopicSpec(1, 1, -1)})
        until(lambda: "a" in topics.describe(["a"]))
        command = [sys.executable, "-c", ASKING, broker.address]
        rounds, errors = tmp_path / "rounds", tmp_path / "errors"
        with rounds.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=err)

        def lines(end: str) -> int:
            assert process.poll() is None, errors.read_text()
            return sum(line.endswith(end) for line in rounds.read_text().splitlines())

        def is_answered_again() -> None:
            before = lines("answered")
            until(lambda: lines("answered") > before + 1)

        is_answered_again()

        def was_fenced() -> bool:
            broker.pause()
            time.sleep(HELD_UP_S)
            broker.resume()
            is_answered_again()
            return lines(FENCED) > 0

        until(was_fenced, "the library never saw a fenced broker")
        process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, errors.read_text()) == (0, "")
