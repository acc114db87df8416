"""The graph in one SQLite file, which several processes may share.

The file is a log-like table of encoded rows; SQL answers no query of the port. Each process holds all rows in memory (a
`RowStore`, as `MemoryGraph` does) and reads from the file what others committed since its last call. So both embedded
graphs answer with the same code, and the size of a graph is bound by the memory of one process: some 4 kB per node with
its queue (docs/operating/neo4j.md).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_type_hints

import msgspec

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.graph_port import (
    EpochReading,
    HolderInsert,
    Known,
    LookupKeys,
    TaggedQueue,
    Transaction,
)
from dagmanager.engine.model.rows import EPOCH_COUNTER, OutboxRow, QueueRow, Row
from dagmanager.engine.transactions.add_holder import insert_holder
from dagmanager.errors import SettingsError
from dagmanager.graph.embedded.carry_over import STEPS
from dagmanager.graph.embedded.embedded_transaction import retried, run
from dagmanager.graph.embedded.row_store import RowId, RowStore
from dagmanager.graph.model_version import MODEL, carry_over

T = TypeVar("T")

# Deleted rows stay as tombstones for this many transactions, for processes that have not read them yet.
_FORGET_AFTER: Final = 1_000

_TABLES: Final = (
    # `seq` is the number of the transaction that wrote the row last; the value of a deleted row is NULL.
    "CREATE TABLE graph_rows (kind TEXT, key BLOB, seq INTEGER NOT NULL, value BLOB,"
    " PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "CREATE INDEX graph_rows_by_seq ON graph_rows (seq)",
    # Tombstones up to transaction `forgotten` are removed: a process that has read less must read the whole table.
    "CREATE TABLE graph_state (seq INTEGER NOT NULL, forgotten INTEGER NOT NULL)",
    "INSERT INTO graph_state VALUES (0, 0)",
)
_STORE: Final = (
    "INSERT INTO graph_rows (kind, key, seq, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, key) DO UPDATE SET seq = excluded.seq, value = excluded.value"
)

# A row's type by its struct tag. Its key is the field `key`, or else a property of type str.
_KINDS: Final[dict[str, type[Any]]] = {kind.__struct_config__.tag: kind for kind in get_args(Row)}
_KEYS: Final = {
    name: msgspec.msgpack.Decoder(get_type_hints(kind).get("key", str)) for name, kind in _KINDS.items()
}
_ROWS: Final = msgspec.msgpack.Decoder(Row)


class SqliteGraph:
    """As `MemoryGraph`, but stored in `file` and shared by all processes that open the same path.

    One transaction writes to the file at a time. Every method raises what `SqliteFile` raises, above all
    `UnavailableError` after its time limit for other writers: nothing was decided then.
    """

    def __init__(self, path: Path | SqliteFile, clock: Callable[[], int]) -> None:
        """Open or create the file and read it. `clock` returns milliseconds since the epoch.

        `SettingsError` when the path cannot be used; a damaged file is found here, not at the first submission.
        """
        self.file = path if isinstance(path, SqliteFile) else SqliteFile(path)
        self._clock = clock
        self._row_store = RowStore()
        self._seen = 0
        self.file.create("graph", MODEL, _TABLES, _carry_over)
        with self._current():
            pass

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically, again after a `ConstraintError`, which it raises after `CONSTRAINT_TRIES` tries."""
        return retried(lambda: self._once(work))

    def known(self, keys: LookupKeys) -> Known:
        """A snapshot of what all processes committed."""
        with self._current() as store:
            return store.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic."""
        with self._current() as store:
            return store.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        """The current epoch."""
        with self._current() as store:
            return store.counter(EPOCH_COUNTER)

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """A snapshot of the epoch and these counters."""
        with self._current() as store:
            return store.epoch_reading(counters, self._clock())

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """Does nothing: there are no statements to plan."""

    def add_holder(self, insert: HolderInsert) -> bool:
        """Compare-and-set insert of a holder; False if the lineage or the epoch has changed."""
        return self.transact(lambda tx: insert_holder(tx, insert))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """At most `limit` outbox rows that are not yet published, in order."""
        with self._current() as store:
            return store.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """At most `limit` claims of which every lease is over, oldest first."""
        with self._current() as store:
            return store.overdue_claims(self._clock(), limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """At most `limit` queues whose topic sorts after this one, by topic."""
        with self._current() as store:
            return store.queues_after(topic, limit)

    def rows(self) -> tuple[Row, ...]:
        """All rows, by type and key: for audits and tests only."""
        with self._current() as store:
            return store.rows()

    def _once(self, work: Callable[[Transaction], T]) -> T:
        with self.file.writing() as connection:
            self._refresh(connection)
            written = self._seen

            # Inside `run`, so that a COMMIT that fails (the disk is full) undoes the writes in memory as well.
            def commit() -> None:
                nonlocal written
                written = self._write_changes(connection)
                connection.execute("COMMIT")

            result = run(self._row_store, self._clock(), work, commit)
            self._seen = written
            return result

    @contextmanager
    def _current(self) -> Iterator[RowStore]:
        with self.file.reading() as connection:
            self._refresh(connection)
            yield self._row_store

    def _refresh(self, connection: sqlite3.Connection) -> None:
        """Read what other processes committed since the last call."""
        state = connection.execute("SELECT seq, forgotten FROM graph_state").fetchone()
        if state is None:
            msg = f"{self.file.path} is damaged: its table graph_state is empty"
            raise SettingsError(msg)
        seq, forgotten = state
        if seq == self._seen:
            return
        if self._seen < forgotten:
            self._row_store, self._seen = RowStore(), 0
        found = connection.execute("SELECT kind, key, value FROM graph_rows WHERE seq > ?", (self._seen,))
        try:
            rows = dict(decoded(*each) for each in found)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            msg = f"{self.file.path} holds a row that this release cannot read: {error}"
            raise SettingsError(msg) from error
        self._row_store.load(rows)
        self._seen = seq

    def _write_changes(self, connection: sqlite3.Connection) -> int:
        """Write the rows that this transaction changed; returns its number (`seq`)."""
        changed = self._row_store.changed()
        if not changed:
            return self._seen
        seq = self._seen + 1
        connection.executemany(_STORE, _encoded(changed, seq))
        connection.execute("UPDATE graph_state SET seq = ?", (seq,))
        if seq % _FORGET_AFTER == 0:
            old = seq - _FORGET_AFTER
            connection.execute("DELETE FROM graph_rows WHERE value IS NULL AND seq <= ?", (old,))
            connection.execute("UPDATE graph_state SET forgotten = ?", (old,))
        return seq


def _carry_over(connection: sqlite3.Connection, found: int) -> None:
    carry_over(found, STEPS, connection, lambda _: None)  # `SqliteFile.create` stores the version


def _encoded(changed: Mapping[RowId, Row | None], seq: int) -> Iterator[tuple[str, bytes, int, bytes | None]]:
    encode = msgspec.msgpack.encode
    for (kind, key), row in changed.items():
        yield kind.__struct_config__.tag, encode(key), seq, None if row is None else encode(row)


def decoded(kind: str, key: bytes, value: bytes | None) -> tuple[RowId, Row | None]:
    """The identity of a stored row, and the row; None for a deleted one.

    `MsgspecError`, `KeyError` or `TypeError` for a row that this release does not know.
    """
    if value is None:
        return (_KINDS[kind], _KEYS[kind].decode(key)), None
    row = _ROWS.decode(value)
    return (type(row), row.key), row
