"""`make live`: the flow on a real Kafka and a real Neo4j, fed without end, with its answers and control events.

Ctrl-C stops everything. `--once` stops by itself after a first version, a resend and a second version, `--seconds N`
after that time. The two clients are those of examples/client.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from types import FrameType

from confluent_kafka import KafkaException

from dagmanager.terminal.pipe import until_reader_leaves
from examples.client import Context, Json, Listener, Submitter
from examples.live_view import View
from examples.submissions import CHANGED, CONTEXTS, DEFAULT, strategies, version
from servers.kafka import KafkaServer
from servers.launch import HOW_TO_GET, chosen_launch
from servers.neo4j import Neo4jServer
from servers.parent_death import die_with_parent
from servers.process import Server, ServerError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("results/live")
START_SECONDS = 120.0
# A cold database on a busy machine takes half a minute for the first ones.
ANSWER_SECONDS = 180.0
DRAIN_SECONDS = 30.0
# How soon Ctrl-C is noticed.
LISTEN_SECONDS = 0.2
# Every third submission is a new version.
NEW_VERSION_EVERY = 3


class LiveError(Exception):
    """A process that this program started failed."""


@dataclass
class Sent:
    """A submission whose answer is awaited."""

    name: str
    context: Context
    at_s: float
    note: str


class Flow:
    """`dagmanager run` as a process of its own, its log in a file."""

    def __init__(self, folder: Path, kafka: str, neo4j: str) -> None:
        self.log = folder / "flow.log"
        self._alive = folder / "heartbeat"
        settings = {"neo4j_dsn": neo4j, "kafka_dsn": kafka, "controlbus_dsn": kafka}
        config = folder / "dagmanager.yml"  # JSON is YAML
        config.write_text(json.dumps({"dagmanager": settings}, indent=1))
        command = [
            sys.executable,
            "-m",
            "flows.run",
            "--config",
            str(config),
            "--heartbeat",
            str(self._alive),
        ]
        with self.log.open("wb") as log:
            # A process group of its own: this program turns Ctrl-C into an orderly shutdown.
            self._process = subprocess.Popen(
                [*command, "--recovery", str(folder / "recovery")],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, and no thread of ours runs yet
            )

    def wait(self) -> None:
        """Block until its topics and its schema exist; `LiveError` after 120 s."""
        until = time.monotonic() + START_SECONDS
        while not self._alive.exists():
            self.check()
            if time.monotonic() > until:
                raise LiveError(f"the flow did not start in {START_SECONDS:.0f} s; its log is {self.log}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise `LiveError` if it ended."""
        if self._process.poll() is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
            raise LiveError(f"the flow ended with {self._process.returncode}:\n{last}")

    def drain(self) -> int:
        """Shut it down cleanly: it answers what it read. Its exit code, within 30 s."""
        self._process.terminate()
        return self._process.wait(DRAIN_SECONDS)

    def kill(self) -> None:
        """Kill it in any state. Idempotent."""
        self._process.kill()
        self._process.wait()


class Clients:
    """The two clients of the flow, and which answers they wait for."""

    def __init__(self, servers: str, view: View) -> None:
        self._submitter = Submitter(servers)
        self._listener = Listener(servers)
        self._view = view
        self._strategies = strategies()
        self._waiting: dict[str, Sent] = {}
        self._next_submissions = self._endless()
        self.answered = self.events = 0

    @property
    def waiting(self) -> int:
        """Submissions without an answer so far."""
        return len(self._waiting)

    def send_all(self) -> None:
        """Each strategy once."""
        for name, dag in self._strategies.items():
            self._send(name, dag, "")

    def send_next(self) -> None:
        """A resend as the Gateway sends it, or a changed version."""
        self._send(*next(self._next_submissions))

    def send_second_version(self) -> None:
        """For `--once`."""
        self._send(CHANGED, version(2), "a new version")

    def listen(self, seconds: float) -> None:
        """Show what is received within this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            received = self._listener.poll(left)
            if received is None:
                continue
            if received.kind == "event":
                self.events += 1
                self._view.event(received.content)
            elif received.kind == "answer":
                self._show(received.content)
                if not self._waiting:
                    return

    def finish(self, flow: Flow) -> None:
        """Block until every answer is received, and half a second for their events; `LiveError` after 180 s."""
        until = time.monotonic() + ANSWER_SECONDS
        while self._waiting:
            flow.check()
            if time.monotonic() > until:
                raise LiveError(f"{self.waiting} answers were not received in {ANSWER_SECONDS:.0f} s")
            self.listen(0.2)
        self.listen(0.5)

    def close(self) -> None:
        """Leave the group."""
        self._listener.close()

    def _send(self, name: str, dag: Json, note: str) -> None:
        """Under a strategy id that was never used, as the Gateway makes them."""
        strategy_id, given = str(uuid.uuid4()), CONTEXTS.get(name, DEFAULT)
        context = Context(given["world_id"], given["execution_domain"], given.get("as_of", ""))
        self._waiting[strategy_id] = Sent(name, context, time.perf_counter(), note)
        self._submitter.submit(strategy_id, dag, context)

    def _show(self, answer: Json) -> None:
        sent = self._waiting.pop(answer["strategy_id"], None)
        if sent is None:
            return  # repeated after a crash of the flow
        self.answered += 1
        took_ms = (time.perf_counter() - sent.at_s) * 1000
        place = f"{sent.context.world_id}.{sent.context.execution_domain}"
        self._view.answer(sent.name, place, answer, took_ms, sent.note)

    def _endless(self) -> Iterator[tuple[str, Json, str]]:
        names, label = cycle(self._strategies), 1
        for number in count(1):
            if number % NEW_VERSION_EVERY:
                name = next(names)
                yield name, self._strategies[name], "sent again by another id"
            else:
                label += 1
                yield CHANGED, version(label), "a new version"


class StopSignal:
    """Ctrl-C: the first one shuts down cleanly once all is up; before that, and the second one, at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self.in_order = False
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked or not self.in_order:
            raise KeyboardInterrupt
        self.is_asked = True


def main(arguments: list[str] | None = None) -> int:
    """0 when everything sent was answered, or when it was stopped before that began."""
    given = _parser().parse_args(arguments)
    view, stop = View(wide=given.wide), StopSignal()
    launch = chosen_launch()
    if launch is None:
        view.fail("unavailable", f"no way to run real servers: {HOW_TO_GET}")
        return 1
    folder = given.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    servers = KafkaServer(folder / "kafka", launch=launch), Neo4jServer(folder / "neo4j", launch=launch)
    try:
        with ExitStack() as stack:
            for server in servers:
                stack.callback(server.kill)
            flow = _start(view, *servers)
            stack.callback(flow.kill)
            clients = _converse(given, view, stop, flow, servers[0].address)
            if code := flow.drain():
                raise LiveError(f"the flow ended with {code}; its log is {flow.log}")
        view.say(
            f"shut down cleanly: {clients.answered} submissions, all answered, {clients.events} control events; "
            f"flow and servers are stopped; logs are in {given.folder}",
            "1",
        )
    except KeyboardInterrupt:
        view.say(f"interrupted: flow and servers are killed; logs are in {given.folder}")
    except (LiveError, ServerError, KafkaException, subprocess.TimeoutExpired) as failed:
        view.fail("unavailable", str(failed), f"logs are in {given.folder}")
        return 1
    return 0


def _start(view: View, kafka: KafkaServer, neo4j: Neo4jServer) -> Flow:
    """Servers side by side, then the flow."""
    began = time.monotonic()
    view.say("starting Kafka and Neo4j (the first time, they are downloaded)")
    with view.waiting("Kafka and Neo4j"):
        begun: tuple[Server, ...] = (kafka.begin(view.say), neo4j.begin(view.say))
        for server in begun:
            server.wait()
            view.say(f"  {server.kind:6} {server.address}  after {time.monotonic() - began:.1f} s")
    flow = Flow(kafka.folder.parent, kafka.address, neo4j.address)
    with view.waiting("the flow"):
        try:
            flow.wait()
        except BaseException:
            flow.kill()
            raise
    view.say(
        f"  flow   reads dagmanager.submissions  after {time.monotonic() - began:.1f} s; Ctrl-C stops all"
    )
    view.say("  the first answers take seconds: the database plans each statement once")
    return flow


def _converse(given: argparse.Namespace, view: View, stop: StopSignal, flow: Flow, servers: str) -> Clients:
    """Send and listen until stopped, then wait for the answers that are due."""
    clients = Clients(servers, view)
    stop.in_order = True
    until = time.monotonic() + given.seconds if given.seconds else float("inf")
    try:
        view.head()
        clients.send_all()
        if given.once:
            clients.finish(flow)
            clients.send_next()
            clients.send_second_version()
        due = time.monotonic() + given.every
        while not (given.once or stop.is_asked) and time.monotonic() < until:
            flow.check()
            clients.listen(LISTEN_SECONDS)
            # One after the other: of two versions on two partitions, either may be answered first.
            if time.monotonic() >= due and not clients.waiting:
                clients.send_next()
                due = time.monotonic() + given.every
        view.say(f"shutting down: {clients.waiting} answers are due")
        clients.finish(flow)
    finally:
        clients.close()
    return clients


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.live", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after a resend and a second version")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between submissions (default 3)")
    parser.add_argument("--wide", action="store_true", help="do not fit rows into the terminal")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help=f"for data and logs, emptied first (default {FOLDER})"
    )
    return parser


if __name__ == "__main__":
    sys.exit(until_reader_leaves(main))
