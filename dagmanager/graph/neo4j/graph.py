"""The graph on a Neo4j server: the single source of truth in production.

Retry. Every read and transaction is tried again, with a pause of 10 to 50 ms, after a deadlock, a lost leader, a unique
name that another transaction took, a timeout of the server or a lost connection. `work` then runs again from its
first read. A connection that is lost during a commit leaves it unknown whether the commit was applied; no guess is
needed, because `work` decides from what it reads and finds its own rows if it was. The driver's own retry is off: it
would retry inside ours, and knows nothing of constraints.
"""

from __future__ import annotations

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

from dagmanager.backoff import Backoff
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
from dagmanager.engine.model.rows import EPOCH_COUNTER, CounterRow, OutboxRow, QueueRow, Row
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
from dagmanager.graph.neo4j.transaction import Contents, Neo4jTransaction

T = TypeVar("T")

# The driver also accepts http(s), but then asks for a package that this product does not need.
SCHEMES: Final = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
# Size of the contents cache: members of all cached contents together.
CACHED_MEMBERS: Final = 100_000
# 10 to 50 ms. Deadlocks end within milliseconds, so that the pause need not grow; it is random because transactions
# that ran into each other would otherwise do so again.
PAUSE: Final = Backoff(first_s=0.050, factor=1.0, longest_s=0.050, jitter=0.8)
# Connections lost in a row until the server counts as unreachable. The first loss proves little: pooled connections are
# all dead after a restart of a server that is up again.
LOST_CONNECTIONS_MAX: Final = 3
_TAKEN_KEY: Final = re.compile(r"property `\w+` = '(.*)'", re.DOTALL)
# The driver does not call it retryable, but the server only ended a transaction that waited for a lock.
_LOCK_CLIENT_STOPPED: Final = "Neo.ClientError.Transaction.LockClientStopped"
_NO_DATABASE: Final = "Neo.ClientError.Database.DatabaseNotFound"
# The statement or its values are at fault, so that a retry is useless; not the server, its disk or our rights.
_STATEMENT_ERROR: Final = "Neo.ClientError.Statement."
# Two processes create the schema at once: the constraint exists now, or what looked like a plain index in its place was
# the index of the constraint that the other process was creating.
_CREATED_BY_A_RIVAL: Final = (
    "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists",
    "Neo.DatabaseError.Schema.IndexDropFailed",
)
_TIMED_OUT: Final = (
    "Neo.ClientError.Transaction.TransactionTimedOut",
    "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration",
)
# The driver's `is_retryable` is false for these.
_RETRYABLE: Final = frozenset({_LOCK_CLIENT_STOPPED, *_CREATED_BY_A_RIVAL, *_TIMED_OUT})


@dataclass(frozen=True)
class Server:
    """Where the database is, and time limits in seconds.

    `connect_within_s` for a connection, `transaction_within_s` for one try of a transaction (enforced by the
    server), `retry_within_s` for all tries together: a call blocks at most for the last plus one try.
    """

    uri: str
    user: str = ""
    password: str = field(default="", repr=False)
    database: str | None = None
    connect_within_s: float = 5.0
    transaction_within_s: float = 30.0
    retry_within_s: float = 30.0


class _RetryError(Exception):
    """Try again; `connection_lost` when the connection failed rather than the transaction."""

    def __init__(self, reason: str, *, connection_lost: bool = False) -> None:
        super().__init__(reason)
        self.connection_lost = connection_lost


def connect(server: Server) -> neo4j.Driver:
    """A driver that has not connected yet. `SettingsError` for an invalid address."""
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
    """`SettingsError` for an address that no driver accepts. The message never repeats a password from it."""
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in SCHEMES and parts.hostname and " " not in uri and parts.port != 0
    except ValueError:  # the port is not a number, or too high
        parts, usable = urlsplit(""), False
    if parts.username is not None:
        msg = "the Neo4j address contains a user or a password: give them separately"
        raise SettingsError(msg)
    if usable and parts.path.strip("/"):
        msg = f"the Neo4j address names {parts.path.strip('/')!r} behind the port: set the database with `neo4j_database`"
        raise SettingsError(msg)
    if not usable:
        shown = uri.rpartition("@")[2]
        msg = f"{shown!r} is not a Neo4j address: expected bolt://host:7687 or another scheme of {', '.join(SCHEMES)}"
        raise SettingsError(msg)


def _plan(statement: LiteralString, run: writes.Run) -> None:
    """Without parameters every list in it is null, so that it matches and writes nothing."""
    run(statement, {"limit": 0})


class Neo4jGraph:
    """See `dagmanager.engine.model.graph_port.Graph`. Safe between threads; no transaction stays open between calls.

    Every method blocks until the server answered, at most for the time limits of `Server`. It raises
    `UnavailableError` when the server is unreachable or too busy for that time, `SettingsError` when it refuses
    user, password or database, `StoreRefusedError` when it refuses a statement or its values. The schema must
    exist (`prepare`).
    """

    def __init__(self, driver: neo4j.Driver, server: Server) -> None:
        """Uses `driver`, which `close` closes."""
        self._driver = driver
        self._server = server
        self._thread = threading.local()
        self._contents: Contents = BoundedCache(CACHED_MEMBERS, CACHED_MEMBERS)

    def close(self) -> None:
        """Close every connection."""
        self._driver.close()

    def prepare(self, *, create: bool) -> tuple[str, ...]:
        """Check the schema, or with `create` add what is missing; returns the names of what was created.

        Idempotent. `SettingsError` when the schema is of a newer release, or incomplete without `create`.
        Creating waits until indexes are online, at most `schema.ONLINE_WITHIN_S`.
        """

        def once() -> tuple[str, ...]:
            with self._session() as session:
                if create:
                    return schema.create(session)
                schema.check(session)
                return ()

        return self._retried(once)

    def foreign_labels(self) -> tuple[str, ...]:
        """Labels of other products, sorted, if this product has no data in the database yet; else none.

        A database with some may be the wrong one.
        """

        def once() -> tuple[str, ...]:
            with self._session() as session:
                return () if schema.is_ours(session) else schema.foreign_labels(session)

        return self._retried(once)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically. It may run several times (see the module), so it must have no other effects.

        Raises also `ConstraintError` when a unique name was taken in each of `CONSTRAINT_TRIES` tries.
        """
        return self._retried(lambda: self._once(work))

    def known(self, keys: LookupKeys) -> Known:
        """One statement, but no snapshot: each row as committed when it was read."""
        return self._read(lambda run: known(run, keys))

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic."""
        question = TagQuestion(tags, interval, match_mode, namespace)
        return self._read(lambda run: tagged(run, [question]))[0]

    def epoch(self) -> int:
        """The current epoch."""
        found = self._read(lambda run: run(reads.EPOCH, {}))
        return int(found[0]["value"] or 0) if found else 0

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """One statement, but no snapshot: each value as committed when it was read."""
        found = self._read(lambda run: run(reads.EPOCH_READING, {"counters": list(counters)}))[0]
        values = dict(found["counters"])
        epoch = next(iter(found["epoch"]), None) or 0
        return EpochReading(epoch, {name: values.get(name) or 0 for name in counters}, found["now"])

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Have the server plan the everyday statements; the first real ones would wait seconds for that."""
        for statement in (*reads.EVERYDAY, *writes.EVERYDAY):
            if enough():
                return
            self._read(partial(_plan, statement))

    def add_holder(self, insert: HolderInsert) -> bool:
        """Compare and insert in one statement, which is a transaction of its own.

        If the result of a try is lost with its connection, the next try finds the holder and returns False.
        The caller then claims, and finds the outcome that is already stored.
        """
        parameters = insert_parameters(insert)
        return bool(self._read(lambda run: run(writes.ADD_HOLDER, parameters)))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows that are not yet published, in order."""
        return self._read(lambda run: waiting_events(run, limit))

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """At most `limit` claims of which every lease is over by the server's clock, oldest first."""
        found = self._read(lambda run: run(reads.OVERDUE_CLAIMS, {}))
        latest: dict[str, int] = {}
        for claim, lease in zip(decoded(row["row"] for row in found), found, strict=True):
            latest[claim.claim_id] = max(latest.get(claim.claim_id, 0), lease["lease"])
        now_ms = found[0]["now"] if found else 0
        overdue = sorted((lease, claim_id) for claim_id, lease in latest.items() if lease <= now_ms)
        return tuple(claim_id for _, claim_id in overdue[: max(limit, 0)])

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """At most `limit` queues whose topic sorts after this one, by topic."""
        page = {"topic": topic, "limit": max(limit, 0)}
        return tuple(decoded(row["row"] for row in self._read(lambda run: run(reads.QUEUES_AFTER, page))))

    def rows(self) -> tuple[Row, ...]:
        """All rows, by type and key. Reads the whole database: for audits and tests only."""
        found: list[Any] = decoded(row["row"] for row in self._read(lambda run: run(reads.ALL_ROWS, {})))
        rows = [row for row in found if not (isinstance(row, CounterRow) and row.name == EPOCH_COUNTER)]
        epoch = self.epoch()
        rows += [CounterRow(EPOCH_COUNTER, epoch)] if epoch else []
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
                server.close()  # rolls back what was not committed

    def _read(self, query: Callable[[Callable[..., list[Any]]], T]) -> T:
        """One statement in a transaction of its own (the driver's auto-commit), tried again as `transact`."""

        def once() -> T:
            with self._session() as session:
                return query(self._runner(session))

        return self._retried(once)

    def _runner(
        self, runs: neo4j.Session | neo4j.Transaction
    ) -> Callable[[LiteralString, dict[str, Any]], list[Any]]:
        def run(statement: LiteralString, parameters: dict[str, Any]) -> list[Any]:
            with self._translated(), self._reachable():
                # One map as the only parameter: for list parameters the server makes a new plan per order of
                # magnitude of their length.
                return list(runs.run(statement, p=parameters))

        return run

    @contextmanager
    def _session(self) -> Iterator[neo4j.Session]:
        """A session with the leader, for reads as well: a follower may lag behind this process's last commit.

        `AssertionError` inside a transaction of the same thread: a second one would wait for the first one's locks.
        """
        if getattr(self._thread, "has_session", False):
            msg = "inside a transaction, read through the transaction: the store does not show its writes yet"
            raise AssertionError(msg)
        self._thread.has_session = True
        try:
            with self._driver.session(database=self._server.database) as session:
                yield session
        finally:
            self._thread.has_session = False

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """The driver lets an `OSError` through when a connection is reset during its handshake: retry as well."""
        try:
            yield
        except OSError as error:
            raise _RetryError(str(error), connection_lost=True) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours, or into `_RetryError`."""
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
            raise _RetryError(str(error), connection_lost=True) from error
        except Neo4jError as error:
            if error.is_retryable() or error.code in _RETRYABLE:
                raise _RetryError(error.message or "") from error
            msg = f"neo4j at {self._server.uri}: {error.code}: {error.message}"
            if error.code == _NO_DATABASE:
                raise SettingsError(f"neo4j_database: {error.message}") from error
            refused = (error.code or "").startswith(_STATEMENT_ERROR)
            raise (StoreRefusedError if refused else DagManagerError)(msg) from error
        except DriverError as error:
            raise _RetryError(str(error), connection_lost=True) from error

    def _retried(self, attempt: Callable[[], T]) -> T:
        """Try until it succeeds, fails for good, or one of the limits is reached."""
        deadline = time.monotonic() + self._server.retry_within_s
        pauses = PAUSE.pauses()
        constraint_tries = lost_connections = 0
        while True:
            try:
                with self._translated():
                    return attempt()
            except ConstraintError:
                # Not a matter of time: more than a few rivals for one name are a defect.
                constraint_tries += 1
                if constraint_tries == CONSTRAINT_TRIES:
                    raise
            except _RetryError as reason:
                # Losses in a row only: a retryable answer proves that the server is up.
                lost_connections = lost_connections + 1 if reason.connection_lost else 0
                if lost_connections == LOST_CONNECTIONS_MAX or time.monotonic() >= deadline:
                    why = " ".join(str(reason).split())  # the driver's message may have several lines
                    state = "unreachable" if reason.connection_lost else "too busy"
                    msg = f"neo4j at {self._server.uri} is {state}: {why}"
                    raise UnavailableError(msg) from reason
            time.sleep(next(pauses))
