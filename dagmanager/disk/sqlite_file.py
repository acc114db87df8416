"""One SQLite file as an embedded server: whole transactions, and errors that name the file and the cause.

Several processes may have the file open, and several stores may keep their tables in it. Knows no rows.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dagmanager.backoff import Backoff
from dagmanager.disk.exclusive_access import ExclusiveAccess
from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.errors import SettingsError, UnavailableError

_OWNER_ONLY: Final = 0o600
# Between tries to switch to WAL. Processes that start at the same moment must not try at the same moment again.
_PAUSE: Final = Backoff(first_s=0.010, factor=1.0, longest_s=0.010, jitter=0.5)
# Worth a retry: another connection writes, or the disk may be freed. Everything else needs a person.
_PASSING: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
)


class SqliteFile:
    """Safe between threads (one at a time) and processes. A new file has permissions 0600.

    Every method raises `UnavailableError` when another process holds the file for longer than `busy_ms`
    (milliseconds it blocks at most for that) or the disk is full, and `SettingsError` when the file is not
    one of this product, is damaged, or has a version that this release does not know.
    """

    def __init__(self, path: Path, busy_ms: int = 5_000) -> None:
        """Open the file, or create it."""
        self.path = path
        self._busy_ms = busy_ms
        self._access = ExclusiveAccess()
        with self._named_errors():
            self._connection = self._opened()

    def close(self) -> None:
        """Close the connection. Later calls raise `SettingsError`."""
        self._connection.close()

    def create(
        self,
        room: str,
        version: int,
        statements: Sequence[str],
        carry_over: Callable[[sqlite3.Connection, int], None] | None = None,
    ) -> None:
        """Create the tables of one store (`room`) unless they exist; idempotent.

        `carry_over` gets the tables of an older version, and brings them to this one in the same transaction.
        `SettingsError` when they exist in another version.
        """
        with self.writing() as connection:
            found = connection.execute("SELECT version FROM rooms WHERE room = ?", (room,)).fetchone()
            if found is None:
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO rooms VALUES (?, ?)", (room, version))
            elif carry_over is not None and found[0] < version:
                carry_over(connection, found[0])
                connection.execute("UPDATE rooms SET version = ? WHERE room = ?", (version, room))
            elif found[0] != version:
                msg = (
                    f"{self.path} has tables of {room} in version {found[0]!r}; this release reads {version}"
                )
                raise SettingsError(msg)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: one consistent view of what any process committed before."""
        with self._access.reading(), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, one at a time among all processes: durable at the end, rolled back on an exception.

        The block may commit by itself as its last statement, to learn whether that worked.
        """
        with self._access.working(), self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._named_errors():
            self._connection.execute(begin)
            try:
                yield self._connection
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself; the first error is the one to report.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self.path.exists() and not self.path.is_file():
            msg = f"{self.path} cannot be used as a store: it is not a regular file"
            raise SettingsError(msg)
        with translated_os_errors(self.path, "used as a store"):
            # SQLite gives its side files the permissions of the main one, so create that with ours.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))
        connection = sqlite3.connect(
            self.path, timeout=self._busy_ms / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if tables and "rooms" not in tables:
            msg = f"{self.path} is an SQLite file of another program (it has a table {min(tables)!r})"
            raise SettingsError(msg)
        self._write_ahead(connection)
        # Answers must survive a power cut: by then the submission may be gone at its source.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS rooms (room TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging: readers then do not block the writer.

        The busy timeout does not cover this statement when several processes start at once, so it is polled.
        """
        deadline = time.monotonic() + self._busy_ms / 1000
        pauses = _PAUSE.pauses()
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not is_passing(error) or time.monotonic() > deadline:
                    raise
                time.sleep(next(pauses))
            else:
                return

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_passing(error):
                msg = f"{self.path} is not available: {error}"
                raise UnavailableError(msg) from error
            msg = f"{self.path} cannot be used as a store: {error}"
            raise SettingsError(msg) from error


def is_passing(error: sqlite3.Error) -> bool:
    """Whether a retry may help: the file is busy, or the disk is full or failing."""
    # An extended result code has the primary one in its low byte.
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _PASSING
