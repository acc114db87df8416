"""`python -m servers fetch` downloads the jars; `python -m servers run` runs both servers until Ctrl-C.

`python -m servers run FILE` writes their addresses to FILE, as settings. Ports differ at each start. With
`--brokers 3` Kafka is a cluster: every topic may have three replicas, and two of them must have a record.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from servers import archive, jars
from servers.folders import OwnedFolder
from servers.kafka import REPLICAS, KafkaCluster
from servers.launch import HOW_TO_GET, JavaLaunch, Launch, chosen_launch, in_ci
from servers.neo4j import Neo4jServer

HEADER: Final = "# python -m servers run: the servers of a trial"


def say(line: str) -> None:
    """Print without buffering, also into a pipe."""
    print(line, flush=True)


def fetch(launch: Launch) -> None:
    """Everything that needs a network or takes long, once."""
    for kind in jars.MAINS:
        launch.fetch(kind, say)
        if isinstance(launch, JavaLaunch):
            archive.make(kind, say)


def end(_number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an orderly stop."""
    raise KeyboardInterrupt


def run(launch: Launch, settings: Path | None, brokers: int) -> None:
    """Run all servers on fresh data, removed at the end; blocks until a signal."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, end)
    with OwnedFolder() as folder, ExitStack() as started:
        neo4j = Neo4jServer(folder.path / "neo4j", launch=launch)
        cluster = KafkaCluster(folder.path / "kafka", brokers, launch=launch)
        try:
            started.callback(cluster.stop)
            started.callback(neo4j.kill)
            cluster.begin(say)
            neo4j.begin(say).wait()
            cluster.wait()
            say(f"kafka {cluster.address}")
            say(f"neo4j {neo4j.address}")
            if settings is not None:
                settings.write_text(settings_of(cluster.address, neo4j.address))
                say(f"settings: {settings}")
            say("Ctrl-C stops all of them and removes their data")
            signal.pause()
        except KeyboardInterrupt:
            pass


def settings_of(kafka: str, neo4j: str) -> str:
    """The settings of a flow on these servers."""
    return f"{HEADER}\nkafka_dsn: {kafka}\ncontrolbus_dsn: {kafka}\nneo4j_dsn: {neo4j}\n"


def is_writable(file: Path) -> bool:
    """Whether the file may be overwritten: it is absent or was written by this command."""
    return not file.exists() or file.read_text("utf-8", "replace").startswith(HEADER)


class Arguments(argparse.ArgumentParser):
    """Prints the whole help for a wrong command."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        print(f"{message}\n\n{__doc__}", file=sys.stderr)
        self.exit(2)


def main(arguments: list[str]) -> int:
    """The exit code: 2 for a wrong command, 1 in CI without a way to run servers."""
    parser = Arguments(prog="python -m servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch")
    running = commands.add_parser("run")
    running.add_argument("settings", type=Path, nargs="?", metavar="FILE")
    running.add_argument("--brokers", type=int, choices=(1, REPLICAS), default=1)
    given = parser.parse_args(arguments)
    settings: Path | None = given.settings if given.command == "run" else None
    if settings is not None and not is_writable(settings):
        print(f"{settings} exists and was not written by this command: name another file", file=sys.stderr)
        return 2
    launch = chosen_launch()
    if launch is None:
        say(f"NO REAL SERVERS, live tests cannot run: {HOW_TO_GET}. See docs/contributing/servers.md.")
        return int(in_ci() or given.command == "run")
    if given.command == "fetch":
        fetch(launch)
    else:
        run(launch, settings, given.brokers)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
