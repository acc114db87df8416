"""Errors of the Neo4j driver as ours, and the retry of every read and transaction.

Tried again, with a pause of 10 to 50 ms, after a deadlock, a lost leader, a unique name that another transaction took, a
timeout of the server, a transaction that an operator terminated, or a lost connection. `work` then runs again from its
first read. A connection or leader that is lost during a commit leaves it unknown whether the commit was applied; no guess
is needed, because `work` decides from what it reads and finds its own rows if it was. The driver's own retry is off: it would retry
inside ours, and knows nothing of constraints.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from neo4j.exceptions import (
    AuthConfigurationError,
    AuthError,
    DriverError,
    ForbiddenOnReadOnlyDatabase,
    Neo4jError,
    NotALeader,
    ServiceUnavailable,
    SessionExpired,
)
from neo4j.exceptions import ConstraintError as TakenError

from dagmanager.backoff import Backoff
from dagmanager.engine.model.graph_port import CONSTRAINT_TRIES
from dagmanager.errors import (
    ConstraintError,
    DagManagerError,
    SettingsError,
    StoreMemoryError,
    StoreRefusedError,
    UnavailableError,
)
from dagmanager.graph.neo4j.server import Server

T = TypeVar("T")

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
# An operator ended one transaction; its message says to retry it.
_TERMINATED: Final = "Neo.ClientError.Transaction.Terminated"
# A member of a cluster passes a write on while there is no leader to pass it to.
_NO_LEADER_KNOWN: Final = "Neo.ClientError.Cluster.Routing"
# The driver's `is_retryable` is false for these.
_RETRYABLE: Final = frozenset(
    {_LOCK_CLIENT_STOPPED, _TERMINATED, _NO_LEADER_KNOWN, *_CREATED_BY_A_RIVAL, *_TIMED_OUT}
)


# The transaction was ended because the memory for all or for one is used up. Rivals may need it at this moment, so it is
# tried again; a transaction that is too large for the server would never succeed.
_OUT_OF_MEMORY: Final = frozenset(
    {
        "Neo.TransientError.General.MemoryPoolOutOfMemoryError",
        "Neo.TransientError.General.TransactionMemoryLimit",
        "Neo.TransientError.General.TransactionOutOfMemoryError",
        "Neo.TransientError.General.OutOfMemoryError",
    }
)
MEMORY_TRIES: Final = 4
MEMORY_PAUSE: Final = Backoff(first_s=0.5, factor=2.0, longest_s=4.0, jitter=0.2)


class _RetryError(Exception):
    """Try again; `connection_lost` when the connection failed rather than the transaction.

    `state` is what to say about the server when no try succeeds. `out_of_memory`: it had no memory for the transaction.
    """

    def __init__(
        self,
        reason: str,
        *,
        connection_lost: bool = False,
        state: str = "is too busy",
        out_of_memory: bool = False,
    ) -> None:
        super().__init__(reason)
        self.out_of_memory = out_of_memory
        self.connection_lost = connection_lost
        self.state = "is unreachable" if connection_lost else state


def is_without_leader(error: Neo4jError) -> bool:
    """Whether the server refused because it is not the leader of its cluster, or knows none."""
    return isinstance(error, (NotALeader, ForbiddenOnReadOnlyDatabase)) or error.code == _NO_LEADER_KNOWN


def writes_refused(server: Server) -> str:
    """What to say of a server that stays without leader: with `bolt` the driver looks for no other."""
    looks_elsewhere = server.uri.startswith("neo4j")
    return "accepts no writes" + ("" if looks_elsewhere else " (in a cluster, neo4j:// finds the leader)")


@contextmanager
def reachable() -> Iterator[None]:
    """The driver lets an `OSError` through when a connection is reset during its handshake: retry as well."""
    try:
        yield
    except OSError as error:
        raise _RetryError(str(error), connection_lost=True) from error


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Turn the driver's errors into ours, or into `_RetryError`."""
    try:
        yield
    except TakenError as error:
        found = _TAKEN_KEY.search(error.message or "")
        raise ConstraintError(found[1] if found else error.message or "") from error
    except (AuthError, AuthConfigurationError) as error:
        msg = f"neo4j_user, neo4j_password: {server.uri}: authentication failed for user {server.user!r}: {error.message}"
        raise SettingsError(msg) from error
    except (ServiceUnavailable, SessionExpired) as error:
        raise _RetryError(str(error), connection_lost=True) from error
    except Neo4jError as error:
        if error.is_retryable() or error.code in _RETRYABLE:
            state = writes_refused(server) if is_without_leader(error) else "is too busy"
            out_of_memory = error.code in _OUT_OF_MEMORY
            raise _RetryError(error.message or "", state=state, out_of_memory=out_of_memory) from error
        msg = f"neo4j at {server.uri}: {error.code}: {error.message}"
        if error.code == _NO_DATABASE:
            raise SettingsError(f"neo4j_database: {error.message}") from error
        refused = (error.code or "").startswith(_STATEMENT_ERROR)
        raise (StoreRefusedError if refused else DagManagerError)(msg) from error
    except DriverError as error:
        raise _RetryError(str(error), connection_lost=True) from error


def retried(server: Server, attempt: Callable[[], T]) -> T:
    """Try until it succeeds, fails for good, or one of the limits is reached.

    `StoreMemoryError` when the server had no memory for it `MEMORY_TRIES` times.
    """
    deadline = time.monotonic() + server.retry_within_s
    pauses, memory_pauses = PAUSE.pauses(), MEMORY_PAUSE.pauses()
    constraint_tries = lost_connections = memory_tries = 0
    while True:
        try:
            with translated(server):
                return attempt()
        except ConstraintError:
            # Not a matter of time: more than a few rivals for one name are a defect.
            constraint_tries += 1
            if constraint_tries == CONSTRAINT_TRIES:
                raise
        except _RetryError as reason:
            if reason.out_of_memory:
                memory_tries += 1
                if memory_tries == MEMORY_TRIES:
                    why = " ".join(str(reason).split())
                    raise StoreMemoryError(f"neo4j at {server.uri} has too little memory: {why}") from reason
                time.sleep(next(memory_pauses))
                continue
            # Losses in a row only: a retryable answer proves that the server is up.
            lost_connections = lost_connections + 1 if reason.connection_lost else 0
            if lost_connections == LOST_CONNECTIONS_MAX or time.monotonic() >= deadline:
                why = " ".join(str(reason).split())  # the driver's message may have several lines
                msg = f"neo4j at {server.uri} {reason.state}: {why}"
                raise UnavailableError(msg) from reason
        time.sleep(next(pauses))
