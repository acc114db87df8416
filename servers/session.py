"""The servers of one test session: each is started at the first request, once, and all stop with the session.

The main process of the session owns them. Its xdist workers request them through a Unix socket in a private folder.
Servers are children of the owner and end even when it is killed with SIGKILL.
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

# Requested by tests that start servers of their own: only the jars or images must be available.
LAUNCH = "launch"
# Addresses of servers to use instead of starting one.
VARIABLES = {"kafka": "QMTL_TEST_KAFKA", "neo4j": "QMTL_TEST_NEO4J"}
# Tests fill and empty a database all the time. With the default, every statement is planned again after ten seconds as
# soon as the statistics changed by more than three quarters; planning is most of what a small server does.
KEEP_PLANS = {"dbms.cypher.statistics_divergence_threshold": "1.0"}


class Availability(Enum):
    """The result of a request."""

    READY = "ready"
    MISSING = "missing"  # this machine cannot run servers
    FAILED = "failed"


@dataclass(frozen=True)
class ServerReply:
    """`text` is an address when READY, else the reason."""

    state: Availability
    text: str


class SessionServers(Protocol):
    """Provides servers by name: a kind, or a kind and its user (`neo4j/gw1`)."""

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up or has failed; the same reply each time."""

    def warm(self, names: Iterable[str]) -> None:
        """Start these servers without waiting."""


class OwnedServers:
    """`SessionServers` in the process that owns them. Safe between threads."""

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
        self.missing = ""  # the reason, once a request found no way to run servers

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up or has failed; the same reply each time."""
        return self._begin(name).result()

    def warm(self, names: Iterable[str]) -> None:
        """Start these servers without waiting."""
        for name in names:
            self._begin(name)

    def open(self) -> str:
        """The address of the socket for `RemoteServers`."""
        with self._lock:
            if self._listener is None:
                self._listener = Listener(str(self._home() / "socket"), family="AF_UNIX")
                threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()
        return cast("str", self._listener.address)

    def close(self) -> None:
        """Stop the servers that were started here and remove their files. Idempotent."""
        with self._lock:
            self._closed = True
            listener, self._listener = self._listener, None
            servers, self._servers = self._servers, []
        if listener is not None:
            listener.close()
        for server in servers:
            server.kill()  # an orderly stop would gain nothing: their data is removed next
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
                for kind in VARIABLES:
                    launch.fetch(kind, self._say)
                return ServerReply(Availability.READY, "")
            return ServerReply(Availability.READY, self._start(name, launch).address)
        except (ServerError, FetchError, OSError) as error:
            return ServerReply(Availability.FAILED, str(error))

    def _start(self, name: str, launch: Launch) -> Server:
        with self._lock:
            folder = self._home() / name
        server: Server = (
            KafkaServer(folder, launch=launch)
            if kind_of(name) == "kafka"
            else Neo4jServer(folder, settings=KEEP_PLANS, launch=launch)
        )
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
    """`SessionServers` in a worker process: passes requests on to the owner."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, name: str) -> ServerReply:
        """Blocks until the server is up or has failed; the same reply each time."""
        return self._call([name], wait=True)[0]

    def warm(self, names: Iterable[str]) -> None:
        """Start these servers without waiting."""
        self._call(list(names), wait=False)

    def _call(self, names: list[str], *, wait: bool) -> list[ServerReply]:
        with Client(self._address, family="AF_UNIX") as owner:
            owner.send((names, wait))
            return cast("list[ServerReply]", owner.recv())


def kind_of(name: str) -> str:
    """`neo4j` of `neo4j/gw1`."""
    return name.partition("/")[0]


def configured_address(name: str) -> ServerReply | None:
    """The server that the environment names for this request, None when it names none."""
    kind, _, user = name.partition("/")
    variable = VARIABLES.get(kind, "")
    given = [part for part in os.environ.get(variable, "").split(",") if part]
    if not given:
        return None
    if kind == "kafka":
        return ServerReply(Availability.READY, ",".join(given))
    number = int(user.removeprefix("gw")) if user.startswith("gw") else 0
    if number >= len(given):
        return ServerReply(
            Availability.FAILED,
            f"{variable} names {len(given)} databases; each parallel worker needs its own",
        )
    found = nodes_in(given[number])
    if found:
        return ServerReply(
            Availability.FAILED, f"{given[number]} has {found} nodes, and these tests delete all data"
        )
    return ServerReply(Availability.READY, given[number])
