"""How a server is run: as a JVM, or in a container where there is no Java."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from servers import docker, jars
from servers.jars import Say

# For the fastest start on two cores: the first compiler tier is enough for the few minutes of a test.
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
# For benchmarks and long trials, where the second compiler tier pays off.
SUSTAINED = ("-XX:-UsePerfData",)
# Neo4j accesses these packages by reflection; its own launcher opens them too.
OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
NEO4J_JVM = tuple(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED)
KAFKA_JVM = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


@dataclass(frozen=True)
class LaunchPlan:
    """What a launch needs: the kind of server, its files, and a unique name."""

    kind: str
    folder: Path
    settings: Path
    heap_mb: int
    name: str
    cluster: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of our Java mains."""
        if self.kind == "kafka":
            return (str(self.settings), self.cluster)
        return (str(self.folder), str(self.settings))


class Launch(Protocol):
    """One way to run servers."""

    @property
    def commands(self) -> Mapping[signal.Signals, tuple[str, ...]]:
        """Commands for signals that the process cannot be sent; the server's name is appended."""

    def fetch(self, kind: str, say: Say) -> None:
        """Download what is needed. Idempotent; may block for minutes the first time."""

    def command(self, plan: LaunchPlan) -> list[str]:
        """The command of the server, or of its client; it ends when its standard input is closed."""


@dataclass(frozen=True)
class JavaLaunch:
    """A JVM on the jars: the process is the server and receives every signal itself."""

    options: tuple[str, ...] = QUICK
    archived: bool = True

    commands: ClassVar[Mapping[signal.Signals, tuple[str, ...]]] = {}

    def fetch(self, kind: str, say: Say) -> None:
        """Fetch the jars with Maven, once."""
        jars.fetch(kind, say)

    def command(self, plan: LaunchPlan) -> list[str]:
        """A JVM with our main, which ends when its standard input is closed."""
        extra = KAFKA_JVM if plan.kind == "kafka" else NEO4J_JVM
        java = [str(jars.tool("java")), f"-Xmx{plan.heap_mb}m", *self.options, *extra]
        archive = jars.archive_of(plan.kind)
        if self.archived and archive.exists():
            java.append(f"-XX:SharedArchiveFile={archive}")
        return [*java, "-cp", jars.class_path(plan.kind), jars.MAINS[plan.kind], *plan.arguments]


class DockerLaunch:
    """A container, for machines without Java; the same settings files, the same addresses."""

    commands: Mapping[signal.Signals, tuple[str, ...]] = docker.COMMANDS

    def fetch(self, kind: str, say: Say) -> None:
        """Pull the image."""
        say(f"servers: pulling {docker.IMAGES[kind]}")
        pulled = subprocess.run(docker.pull(kind), capture_output=True, text=True, check=False)
        if pulled.returncode != 0:
            raise jars.FetchError(f"Docker could not pull {docker.IMAGES[kind]}:\n{pulled.stderr}")

    def command(self, plan: LaunchPlan) -> list[str]:
        """The Docker client: it ends with its container, and the container with it."""
        return docker.run(plan.kind, plan.name, plan.folder, plan.settings, plan.cluster)


HOW_TO_GET = "install a JDK (17 or 21) and Maven, or a running Docker engine"


def chosen_launch() -> Launch | None:
    """Java where a JDK and Maven are installed, else Docker, else None."""
    if not jars.missing_tools():
        return JavaLaunch()
    if docker.answers():
        return DockerLaunch()
    return None


def in_ci() -> bool:
    """Whether this is CI, where missing servers are a failure instead of skipped tests."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
