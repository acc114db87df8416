"""One deployment: its addresses, its own topics, its settings, and its flow processes."""

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

from chaos.evidence import Evidence, EvidenceSources, gather
from chaos.points import PlannedKill
from chaos.strategies import InputRecord, end_marker, tag_query_record
from chaos.victim import VictimSpec, may_die, run_victim
from dagmanager.assembly import read_options_of
from dagmanager.connect import EVENT_TOPICS, FLOW_TOPICS, create_topics
from dagmanager.engine.model.rows import QueueRow, QueueState
from dagmanager.engine.model.version_rows import SentinelRow, SentinelState
from dagmanager.engine.reader import Reader
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.server import Server, connect
from dagmanager.settings.table import Settings, TopicShape
from servers.records import records

ROOT: Final = Path(__file__).resolve().parents[1]
PARTITIONS: Final = 8
TIMEOUT_S: Final = 180.0
DAY_S: Final = 86_400
OWN_TOPICS: Final = (*FLOW_TOPICS, *EVENT_TOPICS)
# Starting a process polls all children; two threads doing so at once can lose an exit code.
_CHILDREN_LOCK: Final = threading.Lock()


class SiteError(Exception):
    """The site cannot be audited: something did not happen in time."""


@dataclass(frozen=True)
class Site:
    """A deployment. Its unique `name` begins the names of its worlds and queue topics; `shares` flow processes divide the
    partitions. With several `replicas` of each topic its profile is prod, in which they are never fewer (T-2)."""

    name: str
    folder: Path
    kafka: str
    neo4j: str
    shares: int = 4
    replicas: int = 1

    @property
    def worlds(self) -> tuple[str, str]:
        """Two world ids, both beginning with the name."""
        return f"{self.name}a", f"{self.name}b"

    @cached_property
    def settings(self) -> Settings:
        """Short leases, because their owners are killed every second; one partition per topic, because there are many."""
        names = {setting: f"own.{self.name}.{setting}" for setting in OWN_TOPICS}
        shape = TopicShape(1, self.replicas, DAY_S)
        return msgspec.structs.replace(
            Settings(),
            profile="dev" if self.replicas == 1 else "prod",
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
        """The log of all processes."""
        return self.folder / "flow.log"

    def recovery(self, share: int) -> Path:
        """The recovery folder of one share, which each of its processes continues from."""
        return self.folder / f"recovery-{share}"

    def may_die(self, share: int) -> bool:
        """Whether a kill now is not the third death over one record."""
        return may_die(self.recovery(share))

    def open(self) -> None:
        """Write the settings, create the submissions topic (in profile prod: all own topics) and the schema, and write the first record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {name: getattr(self.settings, name) for name in self.settings.__struct_fields__}
        default = Settings()
        changed = {name: value for name, value in values.items() if value != getattr(default, name)}
        # YAML reads JSON.
        self.config.write_bytes(orjson.dumps(msgspec.to_builtins({"dagmanager": changed})))
        topic = NewTopic(
            self.settings.submissions_topic,
            PARTITIONS,
            self.replicas,
            config={"message.timestamp.type": "LogAppendTime"},
        )
        self._admin.create_topics([topic])[topic.topic].result(TIMEOUT_S)
        if self.settings.profile == "prod":  # in dev the flow creates them
            create_topics(self.settings, dry_run=False)
        self.graph.prepare(create=True)
        self.feed([tag_query_record(self.worlds[0])])

    def has(self, topic: str) -> bool:
        """Whether the broker knows this topic."""
        return topic in self._admin.list_topics(timeout=TIMEOUT_S).topics

    def partitions_of(self, share: int) -> tuple[int, ...]:
        """The partitions of a share, as `--index` and `--of` divide them."""
        return tuple(range(share, PARTITIONS, self.shares))

    def feed(self, sent: Sequence[InputRecord]) -> None:
        """Puts records on the topic; while the broker is unreachable they wait here."""
        for each in sent:
            self._producer.produce(
                self.settings.submissions_topic, each.value, each.key, partition=each.partition
            )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until all fed records are on the topic; `SiteError` after `TIMEOUT_S`."""
        if self._producer.flush(TIMEOUT_S):
            raise SiteError("the broker does not accept the fed records")

    def start_victim(self, share: int, kill_plan: PlannedKill) -> ForkServerProcess:
        """Start one share's process with a kill switch."""
        spec = VictimSpec(
            config=str(self.config),
            recovery=str(self.recovery(share)),
            share=f"{share}/{self.shares}",
            log=str(self.log),
            kill_plan=kill_plan,
        )
        process = forkserver().Process(target=run_victim, args=(msgspec.json.encode(spec),), daemon=True)
        with _CHILDREN_LOCK:
            process.start()
        return process

    def await_end(self, process: ForkServerProcess, seconds: float) -> int | None:
        """The exit code, None if it did not end in this time."""
        deadline = time.monotonic() + seconds
        while True:
            with _CHILDREN_LOCK:
                code = process.exitcode
            if code is not None or time.monotonic() > deadline:
                return code
            time.sleep(0.02)

    def run(self, share: int) -> subprocess.Popen[bytes]:
        """Start one share's process as in production, on the same recovery folder."""
        command = [sys.executable, "-m", "flows.run", "--config", str(self.config)]
        command += ["--recovery", str(self.recovery(share)), "--epoch-seconds", "0.1"]
        command += ["--index", str(share), "--of", str(self.shares)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment())

    def drain(self) -> list[int]:
        """Run the real runner on every recovery folder until all records are answered; its exit codes.

        The last record of each partition is a dry run, which changes nothing: its answer shows that all records before it
        were handled, again where that was needed.
        """
        self.flush()
        self.feed([end_marker(self.worlds[0], partition) for partition in range(PARTITIONS)])
        self.flush()
        running = [self.run(share) for share in range(self.shares)]
        try:
            wait(
                lambda: self._end_markers_answered() == PARTITIONS,
                "the last records of all partitions are not answered",
            )
            # Left claims are taken over once their lease has ended; what stays is a finding of the auditor.
            wait_at_most(TIMEOUT_S, lambda: not self._claimed())
        finally:
            for process in running:
                process.terminate()
            ended = [_exit_code(process) for process in running]
        return ended

    def evidence(self) -> Evidence:
        """Read all stores; all flow processes must have ended."""
        names = {setting: getattr(self.settings, setting) for setting in OWN_TOPICS}
        return gather(EvidenceSources(self.kafka, names, self.name), self.graph, self._driver)

    def reader(self) -> Reader:
        """A reader with the flow's options."""
        return Reader(read_options_of(self.settings))

    def close(self) -> None:
        """Delete every topic of this site and close the database."""
        listed = self._admin.list_topics(timeout=TIMEOUT_S).topics
        own = [name for name in listed if name.startswith((self.name, f"own.{self.name}."))]
        for start in range(0, len(own), 200):
            for done in self._admin.delete_topics(own[start : start + 200]).values():
                done.result(TIMEOUT_S)
        self.graph.close()

    @cached_property
    def graph(self) -> Neo4jGraph:
        """The graph on the database."""
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

    def _end_markers_answered(self) -> int:
        values = (each.value() or b"" for each in records(self.kafka, self.settings.diffs_topic))
        found = (orjson.loads(value) for value in values if b'"dryrun"' in value)
        return len({each["submission_id"] for each in found})

    def _claimed(self) -> bool:
        return any(
            (isinstance(row, QueueRow) and row.state is QueueState.PROVISIONING)
            or (isinstance(row, SentinelRow) and row.state is SentinelState.PENDING)
            for row in self.graph.rows()
        )


def forkserver() -> ForkServerContext:
    """Processes start with everything imported: that takes a tenth of the time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chaos.victim", "dagmanager.connect", "dagmanager.metrics"])
    return context


def environment() -> dict[str, str]:
    """The environment without variables that would override the settings file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DAGMANAGER_")}


def wait(holds: Callable[[], bool], missing: str) -> None:
    """Wait until it holds; `SiteError` after `TIMEOUT_S`."""
    if not wait_at_most(TIMEOUT_S, holds):
        raise SiteError(missing)


def wait_at_most(seconds: float, holds: Callable[[], bool]) -> bool:
    """Wait until it holds, at most this long; whether it does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
