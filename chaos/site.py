"""One deployment: its addresses, its own topics, its settings, and the flow processes that live and die in it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

import msgspec
import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    NewTopic,
)
from neo4j import Driver

from chaos.evidence import Evidence, Places, gathered
from chaos.points import Charge
from chaos.strategies import Sent, last_word, watcher
from chaos.victim import Life, live, may_die
from dagmanager.assembly import read_options_of
from dagmanager.connect import EVENT_TOPICS, FLOW_TOPICS
from dagmanager.engine.model.rows import QueueRow, QueueState, SentinelRow, SentinelState
from dagmanager.engine.reader import Reader
from dagmanager.graph.neo4j.graph import Neo4jGraph, Server, connect
from dagmanager.settings.table import Settings, TopicShape
from servers.records import records

ROOT: Final = Path(__file__).resolve().parents[1]
PARTITIONS: Final = 8
TIMEOUT_S: Final = 180.0
DAY_S: Final = 86_400
OWN_TOPICS: Final = (*FLOW_TOPICS, *EVENT_TOPICS)
# Each start looks after all children; two threads that do so at once lose an exit code.
_BIRTHS: Final = threading.Lock()


class SiteError(Exception):
    """The site cannot be judged: something that must come did not."""


@dataclass(frozen=True)
class Site:
    """`name` is unlike any other's: worlds begin with it, and so do queue topics. `shares` flow processes divide
    the partitions."""

    name: str
    folder: Path
    kafka: str
    neo4j: str
    shares: int = 4

    @property
    def worlds(self) -> tuple[str, str]:
        """Two, both beginning with the name."""
        return f"{self.name}a", f"{self.name}b"

    @cached_property
    def settings(self) -> Settings:
        """Short leases, since their owners die every second; one partition for each topic, since they are many."""
        names = {setting: f"own.{self.name}.{setting}" for setting in OWN_TOPICS}
        shape = TopicShape(1, 1, DAY_S)
        return msgspec.structs.replace(
            Settings(),
            neo4j_dsn=self.neo4j,
            neo4j_user="",
            kafka_dsn=self.kafka,
            controlbus_dsn=self.kafka,
            claim_lease_seconds=2.0,
            claim_poll_seconds=1.0,
            topic_shapes=dict.fromkeys(("raw", "indicator", "trade_exec"), shape),
            **names,
        )

    @property
    def config(self) -> Path:
        """The settings file of every process."""
        return self.folder / "dagmanager.yaml"

    @property
    def log(self) -> Path:
        """What every process says, one after the other."""
        return self.folder / "flow.log"

    def recovery(self, share: int) -> Path:
        """Where one share's processes leave what the next one goes on from."""
        return self.folder / f"recovery-{share}"

    def may_die(self, share: int) -> bool:
        """Whether a death now is nobody's third."""
        return may_die(self.recovery(share))

    def open(self) -> None:
        """Write the settings; make the submissions topic, and send the first record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {name: getattr(self.settings, name) for name in self.settings.__struct_fields__}
        default = Settings()
        changed = {name: value for name, value in said.items() if value != getattr(default, name)}
        # YAML reads JSON.
        self.config.write_bytes(orjson.dumps(msgspec.to_builtins({"dagmanager": changed})))
        topic = NewTopic(
            self.settings.submissions_topic,
            PARTITIONS,
            1,
            config={"message.timestamp.type": "LogAppendTime"},
        )
        self._admin.create_topics([topic])[topic.topic].result(TIMEOUT_S)
        self.graph.prepare(create=True)
        self.feed([watcher(self.worlds[0])])

    def has(self, topic: str) -> bool:
        """Whether the broker knows this topic."""
        return topic in self._admin.list_topics(timeout=TIMEOUT_S).topics

    def partitions_of(self, share: int) -> tuple[int, ...]:
        """As `--index` and `--of` deal them."""
        return tuple(range(share, PARTITIONS, self.shares))

    def feed(self, sent: Sequence[Sent]) -> None:
        """Puts records on the topic; while the broker is unreachable they wait here."""
        for each in sent:
            self._producer.produce(
                self.settings.submissions_topic, each.value, each.key, partition=each.partition
            )
        self._producer.poll(0)

    def flush(self) -> None:
        """All that was fed is on the topic."""
        if self._producer.flush(TIMEOUT_S):
            raise SiteError("the broker does not take the records that were fed")

    def live(self, share: int, charge: Charge) -> ForkServerProcess:
        """Start one share's process with a fuse."""
        life = Life(
            config=str(self.config),
            recovery=str(self.recovery(share)),
            share=f"{share}/{self.shares}",
            log=str(self.log),
            charge=charge,
        )
        process = nursery().Process(target=live, args=(msgspec.json.encode(life),), daemon=True)
        with _BIRTHS:
            process.start()
        return process

    def await_end(self, process: ForkServerProcess, seconds: float) -> int | None:
        """The exit code, if it ended in this time."""
        deadline = time.monotonic() + seconds
        while True:
            with _BIRTHS:
                code = process.exitcode
            if code is not None or time.monotonic() > deadline:
                return code
            time.sleep(0.02)

    def run(self, share: int) -> subprocess.Popen[bytes]:
        """Start one share's process as production does, on the same recovery folder."""
        command = [sys.executable, "-m", "flows.run", "--config", str(self.config)]
        command += ["--recovery", str(self.recovery(share)), "--epoch-seconds", "0.1"]
        command += ["--index", str(share), "--of", str(self.shares)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment())

    def drain(self) -> list[int]:
        """The real runner goes on from every recovery folder until all is answered; its exit codes.

        The last record of each partition asks for nothing and is written nowhere: its answer says that
        all before it were handled, again where that was needed.
        """
        self.flush()
        self.feed([last_word(self.worlds[0], partition) for partition in range(PARTITIONS)])
        self.flush()
        running = [self.run(share) for share in range(self.shares)]
        try:
            wait(
                lambda: self._last_words() == PARTITIONS,
                "the last records of all partitions are not answered",
            )
            wait_at_most(20.0, lambda: not self._claimed())
        finally:
            for process in running:
                process.terminate()
            ended = [_ended(process) for process in running]
        return ended

    def evidence(self) -> Evidence:
        """What all stores hold."""
        names = {setting: getattr(self.settings, setting) for setting in OWN_TOPICS}
        return gathered(Places(self.kafka, names, self.name), self.graph, self._driver)

    def reader(self) -> Reader:
        """Reads as the flow does."""
        return Reader(read_options_of(self.settings))

    def close(self) -> None:
        """Remove every topic of this site, and let go of the database."""
        listed = self._admin.list_topics(timeout=TIMEOUT_S).topics
        made = [name for name in listed if name.startswith((self.name, f"own.{self.name}."))]
        for start in range(0, len(made), 200):
            for done in self._admin.delete_topics(made[start : start + 200]).values():
                done.result(TIMEOUT_S)
        self.graph.close()

    @cached_property
    def graph(self) -> Neo4jGraph:
        """The database, by the direct way."""
        return Neo4jGraph(self._driver, self._server)

    @property
    def _server(self) -> Server:
        return Server(self.neo4j)

    @cached_property
    def _driver(self) -> Driver:
        return connect(self._server)

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})

    @cached_property
    def _producer(self) -> Producer:
        options = {"enable.idempotence": True, "message.timeout.ms": 300_000, "log_level": 0}
        return Producer({**options, "bootstrap.servers": self.kafka})

    def _last_words(self) -> int:
        values = (each.value() or b"" for each in records(self.kafka, self.settings.diffs_topic))
        found = (orjson.loads(value) for value in values if b'"dryrun"' in value)
        return len({each["submission_id"] for each in found})

    def _claimed(self) -> bool:
        return any(
            (isinstance(row, QueueRow) and row.state is QueueState.PROVISIONING)
            or (isinstance(row, SentinelRow) and row.state is SentinelState.PENDING)
            for row in self.graph.rows()
        )


def nursery() -> ForkServerContext:
    """Processes start with everything imported: that takes a tenth of the time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chaos.victim", "dagmanager.connect", "dagmanager.metrics"])
    return context


def environment() -> dict[str, str]:
    """Without settings that would win over the file's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DAGMANAGER_")}


def wait(holds: Callable[[], bool], missing: str) -> None:
    """Until it holds; `SiteError` when it takes too long."""
    if not wait_at_most(TIMEOUT_S, holds):
        raise SiteError(missing)


def wait_at_most(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
