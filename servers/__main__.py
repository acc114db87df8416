"""`python -m servers fetch` has the jars ready; `python -m servers run` starts both until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from servers import archive, jars
from servers.folders import OwnedFolder
from servers.kafka import KafkaServer
from servers.launch import HOW_TO_GET, JavaLaunch, Launch, chosen_launch, in_ci
from servers.neo4j import Neo4jServer


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


def fetch(launch: Launch) -> None:
    """All that needs a network or takes long, once."""
    for kind in jars.MAINS:
        launch.fetch(kind, say)
        if isinstance(launch, JavaLaunch):
            archive.make(kind, say)


def end(_number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an orderly end."""
    raise KeyboardInterrupt


def run(launch: Launch) -> None:
    """Both servers, on fresh data that is gone afterwards."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # a shell that starts us in the background has SIGINT ignored
        signal.signal(number, end)
    with OwnedFolder() as folder:
        kafka = KafkaServer(folder.path / "kafka", launch=launch)
        neo4j = Neo4jServer(folder.path / "neo4j", launch=launch)
        try:
            for begun in (kafka.begin(say), neo4j.begin(say)):
                begun.wait()
            say(f"kafka {kafka.address}")
            say(f"neo4j {neo4j.address}")
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            neo4j.kill()
            kafka.kill()


def main(arguments: list[str]) -> int:
    """The exit code: 2 for a wrong command, 1 in CI without a way to run servers."""
    commands = {"fetch": fetch, "run": run}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    launch = chosen_launch()
    if launch is None:
        say(f"NO REAL SERVERS, live tests cannot run: {HOW_TO_GET}. See docs/servers.md.")
        return int(in_ci() or arguments[0] == "run")
    commands[arguments[0]](launch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
