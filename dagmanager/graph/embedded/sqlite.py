"""The graph in one SQLite file: what was submitted yesterday is known today, in every process.

The file holds rows, not relations: each process keeps the image in memory and picks up what others
committed since, so that both embedded graphs answer by the same code.
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
from dagmanager.engine.model.rows import OutboxRow, QueueRow, Row
from dagmanager.engine.transactions.add_holder import insert_holder
from dagmanager.errors import SettingsError
from dagmanager.graph.embedded.embedded_transaction import retried, run
from dagmanager.graph.embedded.row_store import EPOCH, RowId, RowStore

T = TypeVar("T")

VERSION: Final = 1
# Rows that went are kept this many transactions, for processes that still have to learn it.
_FORGET_AFTER: Final = 1_000

_TABLES: Final = (
    # `seq` is the transaction that wrote the row last; a row that went has no value.
    "CREATE TABLE graph_rows (kind TEXT, key BLOB, seq INTEGER NOT NULL, value BLOB,"
    " PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "CREATE INDEX graph_rows_by_seq ON graph_rows (seq)",
    # `forgotten`: whoever has seen less than this missed rows that went, and reads everything again.
    "CREATE TABLE graph_state (seq INTEGER NOT NULL, forgotten INTEGER NOT NULL)",
    "INSERT INTO graph_state VALUES (0, 0)",
)
_STORE: Final = (
    "INSERT INTO graph_rows (kind, key, seq, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, key) DO UPDATE SET seq = excluded.seq, value = excluded.value"
)

# A row's type by its tag; its key is a field named `key`, or a property that is text.
_KINDS: Final[dict[str, type[Any]]] = {kind.__struct_config__.tag: kind for kind in get_args(Row)}
_KEYS: Final = {
    name: msgspec.msgpack.Decoder(get_type_hints(kind).get("key", str)) for name, kind in _KINDS.items()
}
_ROWS: Final = msgspec.msgpack.Decoder(Row)


class SqliteGraph:
    """As `MemoryGraph`, kept in `file` and shared by every process that opens the same path.

    A transaction keeps all other writers of the file out while it runs. `UnavailableError` when that
    takes longer than the file's patience; nothing was decided then.
    """

    def __init__(self, path: Path | SqliteFile, clock: Callable[[], int]) -> None:
        """Open or make the file and read it; `SettingsError` names a path that cannot be used."""
        self.file = path if isinstance(path, SqliteFile) else SqliteFile(path)
        self._clock = clock
        self._image = RowStore()
        self._seen = 0
        self.file.create("graph", VERSION, _TABLES)
        with self._fresh():
            pass  # damage shows when the file is opened, not at the first submission

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically, again when a name was taken; after 8 tries `ConstraintError`."""
        return retried(lambda: self._once(work))

    def known(self, keys: LookupKeys) -> Known:
        """A consistent snapshot of what is committed, by whichever process."""
        with self._fresh() as image:
            return image.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        with self._fresh() as image:
            return image.tagged(tags, interval, match_mode, namespace)

    def epoch(self) -> int:
        """The current epoch."""
        with self._fresh() as image:
            return image.counter(EPOCH)

    def epoch_reading(self, counters: Sequence[str]) -> EpochReading:
        """The epoch and these counters at one moment."""
        with self._fresh() as image:
            return image.epoch_reading(counters, self._clock())

    def warm_up(self, enough: Callable[[], bool]) -> None:
        """There is nothing to plan."""

    def add_holder(self, insert: HolderInsert) -> bool:
        """Write what only a new holder changes, if nothing else has changed."""
        return self.transact(lambda tx: insert_holder(tx, insert))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, in order."""
        with self._fresh() as image:
            return image.waiting_events(limit)

    def overdue_claims(self, limit: int) -> tuple[str, ...]:
        """Claims whose lease is over, oldest first."""
        with self._fresh() as image:
            return image.overdue_claims(self._clock(), limit)

    def queues_after(self, topic: str, limit: int) -> tuple[QueueRow, ...]:
        """Queues whose topic comes after this one, by topic."""
        with self._fresh() as image:
            return image.queues_after(topic, limit)

    def rows(self) -> tuple[Row, ...]:
        """Everything there is, by type and key: for an audit, never for a decision."""
        with self._fresh() as image:
            return image.rows()

    def _once(self, work: Callable[[Transaction], T]) -> T:
        with self.file.writing() as connection:
            self._refresh(connection)
            written = self._seen

            def commit() -> None:
                nonlocal written
                written = self._store(connection)
                connection.execute("COMMIT")

            result = run(self._image, self._clock(), work, commit)
            self._seen = written
            return result

    @contextmanager
    def _fresh(self) -> Iterator[RowStore]:
        with self.file.reading() as connection:
            self._refresh(connection)
            yield self._image

    def _refresh(self, connection: sqlite3.Connection) -> None:
        """Take over what other processes committed since the last call."""
        state = connection.execute("SELECT seq, forgotten FROM graph_state").fetchone()
        if state is None:
            msg = f"{self.file.path} is damaged: its table graph_state is empty"
            raise SettingsError(msg)
        seq, forgotten = state
        if seq == self._seen:
            return
        if self._seen < forgotten:
            self._image, self._seen = RowStore(), 0
        found = connection.execute("SELECT kind, key, value FROM graph_rows WHERE seq > ?", (self._seen,))
        try:
            rows = dict(decoded(*each) for each in found)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            msg = f"{self.file.path} holds a row that this release cannot read: {error}"
            raise SettingsError(msg) from error
        self._image.load(rows)
        self._seen = seq

    def _store(self, connection: sqlite3.Connection) -> int:
        """Write what this transaction changed; the number it is known by."""
        changed = self._image.changed()
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


def _encoded(changed: Mapping[RowId, Row | None], seq: int) -> Iterator[tuple[str, bytes, int, bytes | None]]:
    encode = msgspec.msgpack.encode
    for (kind, key), row in changed.items():
        yield kind.__struct_config__.tag, encode(key), seq, None if row is None else encode(row)


def decoded(kind: str, key: bytes, value: bytes | None) -> tuple[RowId, Row | None]:
    """A stored row and what it is known by; None in place of one that went."""
    if value is None:
        return (_KINDS[kind], _KEYS[kind].decode(key)), None
    row = _ROWS.decode(value)
    return (type(row), row.key), row
