"""Who owns the servers of one test session: each is started at the first request, once, and all end with the session.

The process that began the session owns them. Its workers ask through a socket in a folder that is closed to others.
Servers are children of the owner, so that even its kill -9 ends them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Protocol, cast

from servers.folders import OwnedFolder
from servers.jars import FetchError, Say
from servers.kafka import KafkaServer
from servers.launch import HOW_TO_GET, Launch, chosen_launch
from servers.neo4j import Neo4jServer, nodes_in
from servers.process import Server, ServerError

# What tests ask for that start servers of their own: only that it can be done.
LAUNCH = "launch"
OWN = {"kafka": "QMTL_TEST_KAFKA", "neo4j": "QMTL_TEST_NEO4J"}


class Availability(Enum):
    """What became of a request."""

    READY = "ready"
    MISSING = "missing"  # this machine has no way to run one
    FAILED = "failed"


@dataclass(frozen=True)
class ServerReply:
    """An address when READY, else the reason."""

    state: Availability
    text: str


class SessionServers(Protocol):
    """Where a test process asks for servers, named by kind and, behind a slash, whose."""

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up; the same answer each time."""

    def warm(self, names: Iterable[str]) -> None:
        """Start what will be asked for, without waiting."""


class OwnedServers:
    """In the process that owns the servers."""

    def __init__(self, say: Say, choose: Callable[[], Launch | None] = chosen_launch) -> None:
        self._say = say
        self._choose = choose
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._asked: dict[str, Future[ServerReply]] = {}
        self._servers: list[Server] = []
        self._folder: OwnedFolder | None = None
        self._listener: Listener | None = None
        self._closed = False
        self.missing = ""  # the reason, once somebody asked in vain

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up; the same answer each time."""
        return self._begin(name).result()

    def warm(self, names: Iterable[str]) -> None:
        """Start what will be asked for, without waiting."""
        for name in names:
            self._begin(name)

    def open(self) -> str:
        """The address for a `RemoteServers`."""
        with self._lock:
            if self._listener is None:
                self._listener = Listener(str(self._home() / "socket"), family="AF_UNIX")
                threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()
        return cast("str", self._listener.address)

    def close(self) -> None:
        """Stop exactly what was started here, and remove its files. Idempotent."""
        with self._lock:
            self._closed = True
            listener, self._listener = self._listener, None
            servers, self._servers = self._servers, []
        if listener is not None:
            listener.close()
        for server in servers:
            server.kill()  # their data is removed next: nothing is gained by an orderly stop
        if self._pool is not None:
            self._pool.shutdown()
        if self._folder is not None:
            self._folder.remove()

    def _home(self) -> Path:
        if self._folder is None:
            self._folder = OwnedFolder()
        return self._folder.path

    def _begin(self, name: str) -> Future[ServerReply]:
        with self._lock:
            if name not in self._asked:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="servers")
                self._asked[name] = self._pool.submit(self._answer, name)
            return self._asked[name]

    def _answer(self, name: str) -> ServerReply:
        own = configured_address(name)
        if own is not None:
            return own
        launch = self._choose()
        if launch is None:
            self.missing = f"no real servers here: {HOW_TO_GET}"
            return ServerReply(Availability.MISSING, self.missing)
        try:
            if name == LAUNCH:
                for kind in OWN:
                    launch.fetch(kind, self._say)
                return ServerReply(Availability.READY, "")
            return ServerReply(Availability.READY, self._start(name, launch).address)
        except (ServerError, FetchError, OSError) as error:
            return ServerReply(Availability.FAILED, str(error))

    def _start(self, name: str, launch: Launch) -> Server:
        with self._lock:
            folder = self._home() / name
        make = {"kafka": KafkaServer, "neo4j": Neo4jServer}[kind_of(name)]
        server: Server = make(folder, launch=launch)
        launch.fetch(server.kind, self._say)
        with self._lock:
            if self._closed:
                raise ServerError("the session ended")
            server.begin()
            self._servers.append(server)
        return server.wait()

    def _serve(self, listener: Listener) -> None:
        while True:
            try:
                caller = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._talk, args=(caller,), daemon=True).start()

    def _talk(self, caller: Connection) -> None:
        with caller:
            names, wait = cast("tuple[list[str], bool]", caller.recv())
            self.warm(names)
            caller.send([self.ask(name) for name in names] if wait else [])


class RemoteServers:
    """In a worker process: passes requests on to the owner."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up; the same answer each time."""
        return self._call([name], wait=True)[0]

    def warm(self, names: Iterable[str]) -> None:
        """Start what will be asked for, without waiting."""
        self._call(list(names), wait=False)

    def _call(self, names: list[str], *, wait: bool) -> list[ServerReply]:
        with Client(self._address, family="AF_UNIX") as owner:
            owner.send((names, wait))
            return cast("list[ServerReply]", owner.recv())


def kind_of(name: str) -> str:
    """`neo4j` of `neo4j/gw1`."""
    return name.partition("/")[0]


def configured_address(name: str) -> ServerReply | None:
    """A server that the environment names, to use instead of starting one; None when it names none."""
    kind, _, whose = name.partition("/")
    variable = OWN.get(kind, "")
    given = [part for part in os.environ.get(variable, "").split(",") if part]
    if not given:
        return None
    if kind == "kafka":
        return ServerReply(Availability.READY, ",".join(given))
    number = int(whose.removeprefix("gw")) if whose.startswith("gw") else 0
    if number >= len(given):
        return ServerReply(
            Availability.FAILED, f"{variable} names {len(given)}; each parallel worker needs one of its own"
        )
    found = nodes_in(given[number])
    if found:
        return ServerReply(
            Availability.FAILED, f"{given[number]} holds {found} nodes, and these tests wipe their database"
        )
    return ServerReply(Availability.READY, given[number])
