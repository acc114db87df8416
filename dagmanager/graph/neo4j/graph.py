"""The graph on a Neo4j server: the single source of truth in production (D3).

Every transaction runs under a retry of our own, 10 to 50 ms apart: a deadlock, a lost leader, a name
that a rival took, and a connection lost even in the middle of a commit all mean that `work` runs
again and reads what is there now. Nothing is guessed: what such a commit had already made is found.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, LiteralString, TypeVar
from urllib.parse import urlsplit

import neo4j
from neo4j.exceptions import (
    AuthConfigurationError,
    AuthError,
    ConfigurationError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)
from neo4j.exceptions import ConstraintError as TakenError

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.graph_port import (
    CONSTRAINT_TRIES,
    EpochReading,
    HolderInsert,
    Known,
    LookupKeys,
    TaggedQueue,
    TagQuestion,
    Transaction,
)
from dagmanager.engine.model.rows import CounterRow, OutboxRow, QueueRow, Row
from dagmanager.errors import (
    ConstraintError,
    DagManagerError,
    SettingsError,
    StoreRefusedError,
    UnavailableError,
)
from dagmanager.graph.neo4j import reads, schema, writes
from dagmanager.graph.neo4j.result_mapping import known, tagged, waiting_events
from dagmanager.graph.neo4j.row_mapping import decoded, insert_parameters
from dagmanager.graph.neo4j.transaction import EPOCH, Contents, Neo4jTransaction

T = TypeVar("T")

# The driver knows others, which need more than it brings.
SCHEMES: Final = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
# Of contents read before, over all of them.
KEPT_MEMBERS: Final = 100_000
PAUSE_S: Final = (0.010, 0.050)
# Lost connections in a row before the server counts as away: one may be a restart just behind us.
LOST_TRIES: Final = 3
# The driver takes http too, if only to ask for a package that we do not need.
_TAKEN_KEY: Final = re.compile(r"property `\w+` = '(.*)'", re.DOTALL)
# Not retryable by its class, but it only says that the server ended a waiting transaction.
_ENDED: Final = "Neo.ClientError.Transaction.LockClientStopped"
_NO_DATABASE: Final = "Neo.ClientError.Database.DatabaseNotFound"
# What we said, or the values in it, is at fault; not the server, its disk or our rights.
_STATEMENT: Final = "Neo.ClientError.Statement."
# Two processes that make the schema at once: the other one's constraint is there now, or what looked
# like a plain index in its place was the beginning of it.
_MADE_MEANWHILE: Final = (
    "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists",
    "Neo.DatabaseError.Schema.IndexDropFailed",
)
_TIMED_OUT: Final = (
    "Neo.ClientError.Transaction.TransactionTimedOut",
    "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration",
)


@dataclass(frozen=True)
class Server:
    """Where the database is and how long we wait for it, in seconds."""

    uri: str
    user: str = ""
    password: str = field(default="", repr=False)
    database: str | None = None
    connect_within_s: float = 5.0
    transaction_within_s: float = 30.0
    retry_within_s: float = 30.0


class _AgainError(Exception):
    """Run the transaction again; `lost` when the connection went with it."""

    def __init__(self, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.lost = lost


def connect(server: Server) -> neo4j.Driver:
    """A driver, not yet connected. `SettingsError` for an address that is none."""
    check_address(server.uri)
    try:
        return neo4j.GraphDatabase.driver(
            server.uri,
            auth=(server.user, server.password) if server.user else None,
            connection_timeout=server.connect_within_s,
            connection_acquisition_timeout=server.connect_within_s,
            max_transaction_retry_time=0,
            notifications_min_severity="OFF",
            keep_alive=True,
        )
    except (ConfigurationError, ValueError) as error:
        msg = f"neo4j_dsn: {error}"
        raise SettingsError(msg) from error


def check_address(uri: str) -> None:
    """`SettingsError` for what no driver could use; one with a password in it is not repeated."""
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in SCHEMES and parts.hostname and " " not in uri and parts.port != 0
    except ValueError:  # a port that is no number, or too high
        parts, usable = urlsplit(""), False
    if parts.username is not None:
        msg = "the Neo4j address holds a user or a password: give them apart from it"
        raise SettingsError(msg)
    if usable and parts.path.strip("/"):
        msg = f"the Neo4j address names {parts.path.strip('/')!r} behind the port: a database is chosen by `neo4j_database`"
        raise SettingsError(msg)
    if not usable:
        shown = uri.rpartition("@")[2]
        msg = (
            f"{shown!r} is no Neo4j address: it looks like bolt://host:7687, with one of {', '.join(SCHEMES)}"
        )
        raise SettingsError(msg)


def _nothing(statement: LiteralString, run: writes.Run) -> None:
    run(statement, {"limit": 0})


class Neo4jGraph:
    """See `dagmanager.engine.model.graph_port.Graph`. Safe between threads; holds no transaction between calls.

    `UnavailableError` when the server is away or too busy for the time given; `SettingsError` when
    it refuses us. The schema must be there (`neo4j_schema.create`).
    """

    def __init__(self, driver: neo4j.Driver, server: Server) -> None:
        """Over a driver, which `close` closes."""
        self._driver = driver
        self._server = server
        self._inside = threading.local()
        self._contents: Contents = BoundedCache(KEPT_MEMBERS, KEPT_MEMBERS)

    def close(self) -> None:
        """Let go of every connection."""
        self._driver.close()

    def prepare(self, *, create: bool) -> tuple[str, ...]:
        """Check the schema, or make what it lacks; the names of what was made.

        `SettingsError` when it is of a newer release, or not whole and `create` is not asked for.
        """

        def once() -> tuple[str, ...]:
            with self._session() as session:
                if create:
                    return schema.create(session)
                schema.check(session)
                return ()

        return self._again(once)

    def strangers(self) -> tuple[str, ...]:
        """Labels of others, sorted, in a database that holds nothing of ours yet: it may be the wrong one."""

        def once() -> tuple[str, ...]:
            with self._session() as session:
                return () if schema.is_ours(session) else schema.foreign_labels(session)

        return self._again(once)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically, again as long as the server asks for it; see the module."""
        return self._again(lambda: self._once(work))

    def known(self, keys: LookupKeys) -> Known:
        """Each row as committed when it was read."""
        return self._read(lambda run: known(run, keys))

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        asked = TagQuestion(tags, interval, match_mode, namespace)
        return self._read(lambda run: tagged(run, [asked]))[0]

    def epoch(self) -> int:
        """The current epoch."""
        found = self._read(lambda run: run(reads.EPOCH, {}))
        return int(found[0]["value"] or 0) if found else 0

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """Each as committed when it was read."""
        found = self._read(lambda run: run(reads.EPOCH_READING, {"counters": list(counters)}))[0]
        values = dict(found["counters"])
        epoch = next(iter(found["epoch"]), None) or 0
        return EpochReading(epoch, {name: values.get(name) or 0 for name in counters}, found["now"])

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Without keys each statement is planned, and finds and writes nothing."""
        for statement in (*reads.EVERYDAY, *writes.EVERYDAY):
            if enough():
                return
            self._read(partial(_nothing, statement))

    def add_holder(self, insert: HolderInsert) -> bool:
        """One statement, in a transaction of its own. Of an answer that was lost the next try finds the holder."""
        asked = insert_parameters(insert)
        return bool(self._read(lambda run: run(writes.HOLD, asked)))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, in order."""
        return self._read(lambda run: waiting_events(run, limit))

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """Claims whose every lease is over, oldest first."""
        found = self._read(lambda run: run(reads.OVERDUE_CLAIMS, {}))
        latest: dict[str, int] = {}
        for claim, lease in zip(decoded(row["row"] for row in found), found, strict=True):
            latest[claim.claim_id] = max(latest.get(claim.claim_id, 0), lease["lease"])
        now_ms = found[0]["now"] if found else 0
        overdue = sorted((lease, claim_id) for claim_id, lease in latest.items() if lease <= now_ms)
        return tuple(claim_id for _, claim_id in overdue[: max(limit, 0)])

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """Queues whose topic comes after this one, by topic."""
        given = {"topic": topic, "limit": max(limit, 0)}
        return tuple(decoded(row["row"] for row in self._read(lambda run: run(reads.QUEUES_AFTER, given))))

    def rows(self) -> tuple[Row, ...]:
        """Everything there is, by type and key: for an audit, never for a decision."""
        found: list[Any] = decoded(row["row"] for row in self._read(lambda run: run(reads.ALL_ROWS, {})))
        rows = [row for row in found if not (isinstance(row, CounterRow) and row.name == EPOCH)]
        epoch = self.epoch()
        rows += [CounterRow(EPOCH, epoch)] if epoch else []
        return tuple(sorted(rows, key=lambda row: (type(row).__name__, row.key)))

    def _once(self, work: Callable[[Transaction], T]) -> T:
        with self._session() as session, self._translated():
            with self._reachable():
                server = session.begin_transaction(timeout=self._server.transaction_within_s)
            try:
                tx = Neo4jTransaction(self._runner(server), self._contents)
                try:
                    result = work(tx)
                    if tx.broken is None:
                        tx.flush()
                finally:
                    tx.close()
                if tx.broken is not None:
                    raise tx.broken
                if tx.wrote:
                    server.commit()
                    tx.committed()
                return result
            finally:
                server.close()  # takes back what was not committed

    def _read(self, ask: Callable[[Callable[..., list[Any]]], T]) -> T:
        def once() -> T:
            with self._session() as session:
                return ask(self._runner(session))

        return self._again(once)

    def _runner(
        self, runs: neo4j.Session | neo4j.Transaction
    ) -> Callable[[LiteralString, dict[str, Any]], list[Any]]:
        def run(statement: LiteralString, parameters: dict[str, Any]) -> list[Any]:
            with self._translated(), self._reachable():
                # One map: with lists as parameters of their own the server plans anew for every order of
                # size that they come in.
                return list(runs.run(statement, p=parameters))

        return run

    @contextmanager
    def _session(self) -> Iterator[neo4j.Session]:
        """One session with the leader; a transaction never nests, since it would wait for itself.

        Reads go there too: a follower may not have what this process committed a moment ago.
        """
        if getattr(self._inside, "work", False):
            msg = "inside a transaction ask the transaction: the store itself knows no half of it"
            raise AssertionError(msg)
        self._inside.work = True
        try:
            with self._driver.session(database=self._server.database) as session:
                yield session
        finally:
            self._inside.work = False

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """A connection that is reset while it is made comes out of the driver as the bare error."""
        try:
            yield
        except OSError as error:
            raise _AgainError(str(error), lost=True) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's errors in our words."""
        try:
            yield
        except TakenError as error:
            found = _TAKEN_KEY.search(error.message or "")
            raise ConstraintError(found[1] if found else error.message or "") from error
        except (AuthError, AuthConfigurationError) as error:
            msg = (
                f"neo4j_user, neo4j_password: {self._server.uri} refuses user {self._server.user!r}:"
                f" {error.message}"
            )
            raise SettingsError(msg) from error
        except (ServiceUnavailable, SessionExpired) as error:
            raise _AgainError(str(error), lost=True) from error
        except Neo4jError as error:
            if error.is_retryable() or error.code in {_ENDED, *_MADE_MEANWHILE, *_TIMED_OUT}:
                raise _AgainError(error.message or "") from error
            msg = f"neo4j at {self._server.uri}: {error.code}: {error.message}"
            if error.code == _NO_DATABASE:
                raise SettingsError(f"neo4j_database: {error.message}") from error
            refused = (error.code or "").startswith(_STATEMENT)
            raise (StoreRefusedError if refused else DagManagerError)(msg) from error
        except DriverError as error:
            raise _AgainError(str(error), lost=True) from error

    def _again(self, attempt: Callable[[], T]) -> T:
        """Try until it works, the reason is for good, or time is up."""
        deadline = time.monotonic() + self._server.retry_within_s
        taken = lost = 0
        while True:
            try:
                with self._translated():
                    return attempt()
            except ConstraintError:
                taken += 1
                if taken == CONSTRAINT_TRIES:
                    raise
            except _AgainError as reason:
                lost = lost + 1 if reason.lost else 0
                if lost == LOST_TRIES or time.monotonic() >= deadline:
                    told = " ".join(str(reason).split())  # the driver's words may take several lines
                    msg = f"neo4j at {self._server.uri} is away or too busy: {told}"
                    raise UnavailableError(msg) from reason
            time.sleep(random.uniform(*PAUSE_S))
