"""The benchmark's own broker, database and flow processes, and their processor time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from servers.kafka import KafkaServer
from servers.launch import SUSTAINED, JavaLaunch
from servers.neo4j import Neo4jServer
from servers.parent_death import die_with_parent

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.5
AT_REST: Final = 0.15  # of a core
# The default is a minute: deleted topics would keep their files open that long.
KAFKA_SETTINGS: Final = {"log.segment.delete.delay.ms": "500"}
TICKS: Final = os.sysconf("SC_CLK_TCK")
HOP_TOPIC: Final = "hop"
RECORD_BYTES: Final = 10 * 1024 * 1024


@dataclass(frozen=True)
class Site:
    """The servers, and a folder for all files of this run."""

    folder: Path
    kafka: KafkaServer
    neo4j: Neo4jServer

    def settings(self, flow: str) -> dict[str, Any]:
        """Each flow has its own topics; all share the database."""
        names = (
            "submissions",
            "diffs",
            "dead_letters",
            "admin_log",
            "controlbus_queue",
            "controlbus_sentinel",
        )
        topics = {f"{name}_topic": f"{flow}.{name}" for name in names}
        servers = dict.fromkeys(("kafka_dsn", "controlbus_dsn"), self.kafka.address)
        return {"neo4j_dsn": self.neo4j.address, **servers, **topics}

    def settle(self) -> None:
        """Wait until both servers are idle, at most a minute."""
        pids = [each.pid for each in (self.kafka, self.neo4j) if each.pid is not None]
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            before = sum(map(processor_seconds, pids))
            time.sleep(LOOK_SECONDS)
            if sum(map(processor_seconds, pids)) - before < AT_REST * LOOK_SECONDS:
                return


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Both servers, tuned as in `servers/`, with the second compiler tier for long runs."""
    with ExitStack() as stack:
        launch = JavaLaunch(SUSTAINED, archived=False)
        kafka = KafkaServer(folder / "kafka", settings=KAFKA_SETTINGS, launch=launch)
        kafka.heap_mb = 1024
        neo4j = Neo4jServer(folder / "neo4j", launch=launch)
        neo4j.heap_mb = 2048
        stack.enter_context(kafka)
        stack.enter_context(neo4j)
        yield Site(folder, kafka, neo4j)


def make_topic(servers: str, name: str, partitions: int = 1) -> None:
    """Create a topic that accepts the largest submissions."""
    config = {"max.message.bytes": str(RECORD_BYTES)}
    client = AdminClient({"bootstrap.servers": servers})  # must outlive its futures
    client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)


class FlowProcess:
    """`benchmarks.live.flow_process` as a process: `dagmanager run` with timed ports."""

    def __init__(self, site: Site, flow: str, share: str = "") -> None:
        """Starts the process; `share` as in `submissions_partitions`."""
        self.name = flow
        name = f"{flow}-{share.replace('/', 'of') or 'all'}"
        self._folder = site.folder / name
        self._folder.mkdir(parents=True)
        self._laps = self._folder / "laps.bin"
        config = self._folder / "dagmanager.yml"  # JSON is YAML
        config.write_text(json.dumps({"dagmanager": site.settings(flow) | {"submissions_partitions": share}}))
        self.log = self._folder / "flow.log"
        alive = self._folder / "alive"
        command = [
            sys.executable,
            "-m",
            "benchmarks.live.flow_process",
            str(config),
            str(self._folder / "recovery"),
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self._laps), str(alive)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, and no thread runs yet
            )
        self._wait(alive)

    @property
    def pid(self) -> int:
        """The process id, for its processor time."""
        return self._process.pid

    def laps(self) -> list[dict[str, float]]:
        """The times inside the flow of each submission, in order; see `flow_process`."""
        if not self._laps.exists():
            return []
        return [json.loads(line) for line in self._laps.read_text().splitlines() if line.endswith("}")]

    def stop(self) -> None:
        """Drain, and raise an error with its log if it failed."""
        self._process.terminate()
        if self._process.wait(30) != 0:
            raise RuntimeError(self.log.read_text())

    def __enter__(self) -> FlowProcess:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is not None:
            self._process.kill()
            self._process.wait()
        else:
            self.stop()

    def _wait(self, alive: Path) -> None:
        until = time.monotonic() + START_SECONDS
        while not alive.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
