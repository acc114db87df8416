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
# Longer than the broker's session (SOON_BACK).
# Only how often the broker is fenced depends on these times: on a slow machine fewer pauses, never a failure.
HELD_UP_S = 2.5
AFTERWARDS_S = 2.0
# In a process of its own, because the library's assertion would abort the tests.
ASKING = """
import sys
from threading import Event, Thread
from dagmanager.errors import UnavailableError
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress

admin, over = KafkaAdmin(KafkaAddress(sys.argv[1], request_s=5.0)), Event()
Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    try:
        assert admin.brokers() == 1
        assert set(admin.describe(["a", "b"])) == {"a"}
    except UnavailableError:
        pass
"""


def test_a_fenced_broker_ends_no_process_and_still_knows_its_topics(kafka: str, tmp_path: Path) -> None:
    """`kafka` makes sure that the jars are fetched."""
    with KafkaServer(tmp_path / "broker", settings=SOON_BACK) as broker:
        topics = KafkaTopics(KafkaAdmin(KafkaAddress(broker.address)))
        topics.create({"a": TopicSpec(1, 1, -1)})
        until(lambda: "a" in topics.describe(["a"]))
        command = [sys.executable, "-c", ASKING, broker.address]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3):
            time.sleep(AFTERWARDS_S)
            broker.pause()
            time.sleep(HELD_UP_S)
            broker.resume()
        time.sleep(AFTERWARDS_S)
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, said) == (0, "")
