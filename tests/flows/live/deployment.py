"""A deployment on real servers: one submissions topic, and flows as the processes that read it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from dagmanager.connect import EVENT_TOPICS, FLOW_TOPICS, connect_graph
from dagmanager.engine.model.rows import QueueRow, QueueState, Row
from dagmanager.kafka.admin import KafkaAdmin
from dagmanager.kafka.options import KafkaAddress
from dagmanager.settings.table import Settings
from dagmanager.topics.kafka_preflight import TOPIC_PARTITIONS, check_topics, own_topics
from servers.neo4j import wipe
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[3]
KILLED = -signal.SIGKILL
BYTES_MAX = 8 * 1024 * 1024
Answer = dict[str, Any]
Process = subprocess.Popen[bytes]


class Submissions:
    """The topic that every deployment of a test reads: so a submission has one id, in whichever process."""

    def __init__(self, servers: str, prefix: str) -> None:
        self.servers, self.prefix = servers, prefix
        # A namespace spells a dot in a world as a dash.
        self.worlds = f"{prefix.removesuffix('.')}-"
        self.topic = f"{prefix}submissions"
        self.sent = self.answers_due = 0
        own = own_topics({"submissions_topic": self.topic}, BYTES_MAX)
        check_topics(KafkaAdmin(KafkaAddress(servers)), own, 1, create=True)
        options = {"bootstrap.servers": servers, "partitioner": "murmur2_random", "log_level": 0}
        self._producer = Producer(options)

    def send(self, value: bytes, partition: int = -1) -> None:
        """As the Gateway does, in worlds of this test's own, whose topics go with the test's prefix."""
        record = orjson.loads(value)
        worlds = record[3]["world_ids"] = [f"{self.worlds}{world}" for world in record[3]["world_ids"]]
        key = f"ingest:{record[2]}"
        self._producer.produce(self.topic, orjson.dumps(record), key, partition=partition)
        self.sent += 1
        self.answers_due += len(worlds)

    def flush(self) -> None:
        assert self._producer.flush(TIMEOUT_S) == 0


class Deployment:
    """Flows over one empty graph, with answers, events and log on topics of its own."""

    def __init__(self, name: str, submissions: Submissions, neo4j: str, folder: Path) -> None:
        self.submissions, self.folder = submissions, folder / name
        self.folder.mkdir()
        prefix = f"{submissions.prefix}{name}."
        self.topics = {setting: f"{prefix}{setting}" for setting in (*FLOW_TOPICS, *EVENT_TOPICS)}
        self.topics["submissions_topic"] = submissions.topic
        self.settings = {"neo4j_dsn": neo4j, "kafka_dsn": submissions.servers}
        self.settings |= {"controlbus_dsn": submissions.servers, **self.topics}
        own = own_topics(self.topics, BYTES_MAX)
        check_topics(KafkaAdmin(KafkaAddress(submissions.servers)), own, 1, create=True)
        self._running: list[Process] = []
        self._log = TopicLog(submissions.servers, self.topics["diffs_topic"])

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        given = self.settings | dict(settings)
        ours = {f"DAGMANAGER_{name.upper()}": value for name, value in given.items()}
        return os.environ | ours | {"PYTHONPATH": str(ROOT)}

    def begin(self, name: str, *words: str, settings: Mapping[str, str] | None = None) -> Process:
        """A process of this deployment; its log is `name`.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env=self.environment(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        return process

    def run(self, name: str, *options: str) -> Process:
        """Our runner, with a recovery folder of that name."""
        return self.begin(name, "flows.run", "--recovery", str(self.folder / name), *options)

    def wait(self, answers: int, times: int = 1) -> list[bytes]:
        """All answers, once so many were sent so often; a process that ended too early is shown."""
        deadline = time.monotonic() + TIMEOUT_S
        while (there := self._answers_sent(times)) < answers:
            ended = [process for process in self._running if process.poll() not in (None, KILLED)]
            assert not ended, self.logs()
            assert time.monotonic() < deadline, f"{there} of {answers}\n{self.logs()}"
            self._log.read(0.2)
        return list(self._log.values)

    def _answers_sent(self, times: int) -> int:
        return sum(len(repeats) >= times for repeats in by_submission(self._log.values).values())

    def drain(self) -> None:
        """Stop all that run; each has answered what it read."""
        self._running = [process for process in self._running if process.poll() != KILLED]
        for process in self._running:
            process.terminate()
        assert [process.wait(TIMEOUT_S) for process in self._running] == [0] * len(self._running), self.logs()
        self._running.clear()

    def kill(self) -> None:
        """Whatever still runs."""
        for process in self._running:
            process.kill()
            process.wait()
        self._running.clear()

    def logs(self) -> str:
        texts = [f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(texts)

    def rows(self) -> tuple[Row, ...]:
        settings = Settings(neo4j_dsn=self.settings["neo4j_dsn"])
        graph = connect_graph(settings, create=True)
        try:
            return graph.rows()
        finally:
            graph.close()

    def queues_on_broker(self, admin: AdminClient) -> set[str]:
        """Topics of nodes, as the broker knows them."""
        worlds = self.submissions.worlds
        return {name for name in admin.list_topics(timeout=TIMEOUT_S).topics if name.startswith(worlds)}

    def forget(self, admin: AdminClient) -> None:
        """Kill what runs, and leave no node and no queue to the next deployment."""
        self.kill()
        self._log.close()
        wipe(self.settings["neo4j_dsn"])
        if names := sorted(self.queues_on_broker(admin)):
            for done in admin.delete_topics(names).values():
                done.result(TIMEOUT_S)
            until(lambda: not self.queues_on_broker(admin))


class TopicLog:
    """All values of a topic, read as they come."""

    def __init__(self, servers: str, topic: str) -> None:
        options = {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "enable.auto.commit": False,
            "log_level": 0,
        }
        self._consumer = Consumer(options)
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(TOPIC_PARTITIONS)]
        )
        self.values: list[bytes] = []

    def read(self, seconds: float) -> None:
        for message in self._consumer.consume(1000, seconds):
            assert message.error() is None, message.error()
            self.values.append(message.value() or b"")

    def close(self) -> None:
        self._consumer.close()


def by_submission(values: Sequence[bytes]) -> Mapping[tuple[str, str], list[bytes]]:
    """The answers to each submission in each world, in order; every answer here fits into one chunk."""
    found: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for value in values:
        answer = orjson.loads(value)
        assert answer["chunks"] == 1
        found[answer["submission_id"], answer["world_id"]].append(value)
    return found


def queue_of(answers: Sequence[Answer]) -> dict[tuple[str, str], str]:
    """The topic of each node in each namespace; no answer has another one, and none serves two."""
    found: dict[tuple[str, str], str] = {}
    for answer in answers:
        for key, topic in answer["queue_map"].items():
            node_id = key.split("#")[0].rsplit(":", 2)[0]
            namespace = ".".join(topic.split(".")[:2])
            assert found.setdefault((node_id, namespace), topic) == topic
    assert len(set(found.values())) == len(found)
    return found


def check_stores(deployment: Deployment, values: list[bytes], admin: AdminClient) -> None:
    """Each node once, each queue once: in the answers, in the graph, on the broker."""
    answers = [orjson.loads(repeats[0]) for repeats in by_submission(values).values()]
    queues = queue_of(answers)
    assert sum(answer["actions"]["create"] for answer in answers) == len(queues)
    rows = [row for row in deployment.rows() if isinstance(row, QueueRow)]
    assert {row.state for row in rows} == {QueueState.ACTIVE}
    assert sorted(row.topic for row in rows) == sorted(queues.values())
    assert len({repr(row.binding) for row in rows}) == len(rows)
    assert deployment.queues_on_broker(admin) == set(queues.values())
