"""The flow as a process on real servers: a settings file with names of its own, records in, answers out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from dagmanager.connect import EVENT_TOPICS, FLOW_TOPICS
from servers.records import records
from tests.flows.test_entry_points import ROOT, environment
from tests.kafka.topics import fill, make
from tests.waiting import TIMEOUT_S


@dataclass
class LiveSite:
    """One deployment; its prefix keeps its topics, worlds and strategies apart from those of other tests."""

    folder: Path
    servers: str
    neo4j: str
    prefix: str
    settings: dict[str, Any] = field(default_factory=dict)
    profile: str = "dev"
    deadly: tuple[str, ...] = ()
    begun: list[subprocess.Popen[str]] = field(default_factory=list)

    def topic(self, setting: str) -> str:
        return self.prefix + setting

    def config(self) -> Path:
        """JSON is YAML."""
        own: dict[str, Any] = {
            "kafka_dsn": self.servers,
            "controlbus_dsn": self.servers,
            "neo4j_dsn": self.neo4j,
        }
        own |= {name: self.topic(name) for name in (*FLOW_TOPICS, *EVENT_TOPICS)} | {
            "claim_poll_seconds": 0.5
        }
        path = self.folder / "settings.yaml"
        path.write_bytes(orjson.dumps({"profile": self.profile, "dagmanager": own | self.settings}))
        return path

    def command(self, *options: str) -> list[str]:
        kept = ["--recovery", str(self.folder / "r"), "--epoch-seconds", "0.1"]
        kept += ["--heartbeat", str(self.folder / "alive")]
        entry = ["tests.flows.poisoned", *self.deadly] if self.deadly else ["flows.run"]
        return [sys.executable, "-m", *entry, "--config", str(self.config()), *kept, *options]

    def refused(self, *options: str) -> tuple[int, str]:
        """A run that ends by itself: its exit code and its error."""
        done = subprocess.run(
            self.command(*options),
            cwd=ROOT,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, [each for each in done.stderr.splitlines() if each.startswith("error[")][-1]

    def begin(self, *options: str) -> subprocess.Popen[str]:
        if not self.begun:  # one partition is read to its end much faster than eight
            make(AdminClient({"bootstrap.servers": self.servers}), self.topic("diffs_topic"))
        (self.folder / "alive").unlink(missing_ok=True)
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                self.command(*options), cwd=self.folder, env=environment(self.folder), stderr=log, text=True
            )
        self.begun.append(process)
        return process

    def is_up(self) -> bool:
        """Its topics are there, and it reads: the heartbeat begins after the checks."""
        return (self.folder / "alive").exists()

    def end(self) -> None:
        """Whatever a failed test left running."""
        for process in self.begun:
            process.kill()
            process.wait(TIMEOUT_S)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def send(self, *values: bytes | None, key: bytes | None = b"s", partition: int = 0) -> None:
        fill(self.servers, self.topic("submissions_topic"), values, partition, key)

    def found(self, setting: str) -> list[Message]:
        return records(self.servers, self.topic(setting))

    def answers(self) -> list[dict[str, Any]]:
        return [orjson.loads(message.value() or b"") for message in self.found("diffs_topic")]


def headers(message: Message) -> dict[str, str]:
    pairs = cast("list[tuple[str, bytes]]", message.headers() or [])
    return {name: value.decode() for name, value in pairs}
