"""The graph of an SQLite file for readers that must not write: a snapshot, taken when it is opened.

Works in a read-only folder, and while a flow uses the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.disk.sqlite_file import is_passing
from dagmanager.engine.model.graph_port import Known, LookupKeys, TaggedQueue
from dagmanager.engine.model.rows import ContentRow
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.graph.embedded.row_store import RowStore
from dagmanager.graph.embedded.sqlite import decoded
from dagmanager.graph.model_version import check_model


class StoredGraph:
    """A `GraphReader` of what was committed when it was opened. Writes nothing, not even a lock file.

    `SettingsError` when the file is not a store of this product, `UnavailableError` when it is locked too long.
    """

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        """Read the whole file into memory and close it. `clock` returns milliseconds since the epoch."""
        self._clock = clock
        self._store = RowStore()
        try:
            rows = dict(decoded(*each) for each in _stored(path))
        except sqlite3.Error as error:
            msg = f"{path} cannot be read as a store: {error}"
            raise (UnavailableError if is_passing(error) else SettingsError)(msg) from error
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            msg = f"{path} holds a row that this release cannot read: {error}"
            raise SettingsError(msg) from error
        self._store.load(rows)

    def known(self, keys: LookupKeys) -> Known:
        """The rows asked for, as of the opening."""
        return self._store.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues that a tag query resolves to, sorted by topic."""
        return self._store.tagged(tags, interval, match_mode, namespace)

    def content(self, digest: str) -> ContentRow | None:
        """A content by digest."""
        return self._store.contents([digest]).get(digest)


def stored_model(path: Path) -> int:
    """The model of the graph in this file (`dagmanager.graph.model_version`). Raises as `StoredGraph`."""
    try:
        with _reading(path) as connection:
            return _model(path, connection)
    except sqlite3.Error as error:
        msg = f"{path} cannot be read as a store: {error}"
        raise (UnavailableError if is_passing(error) else SettingsError)(msg) from error


def _stored(path: Path) -> list[tuple[Any, ...]]:
    with _reading(path) as connection:
        check_model(str(path), _model(path, connection))
        return connection.execute("SELECT kind, key, value FROM graph_rows").fetchall()


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with translated_os_errors(path, "read as a store"), path.open("rb"):
        pass
    # A `-wal` file beside it means that a process may be writing, and SQLite must read that file, too. Without one the
    # file can be opened as immutable, so that SQLite creates no files in a folder that may be read-only.
    immutable = not path.with_name(path.name + "-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection


def _model(path: Path, connection: sqlite3.Connection) -> int:
    rooms = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rooms'").fetchone()
    found = rooms and connection.execute("SELECT version FROM rooms WHERE room = 'graph'").fetchone()
    if found is None:
        msg = f"{path} holds no graph: it is not the store of a flow"
        raise SettingsError(msg)
    return int(found[0])
