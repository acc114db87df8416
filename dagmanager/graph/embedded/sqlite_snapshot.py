"""The graph of an SQLite file for readers who may not write: one view, taken at the start.

Works in a folder that is read-only and beside a flow that holds the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from dagmanager.disk.os_errors import translated_os_errors
from dagmanager.disk.sqlite_file import is_passing
from dagmanager.engine.model.graph_port import Known, LookupKeys, TaggedQueue
from dagmanager.engine.model.rows import ContentRow
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.graph.embedded.row_store import RowStore
from dagmanager.graph.embedded.sqlite import VERSION, decoded


class StoredGraph:
    """A `GraphReader` of what was committed when it was opened; nothing is ever written.

    `SettingsError` when the file is none of ours, `UnavailableError` when it is locked too long.
    """

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        """Read the whole file and let go of it."""
        self._clock = clock
        self._image = RowStore()
        try:
            rows = dict(decoded(*each) for each in _stored(path))
        except sqlite3.Error as error:
            msg = f"{path} cannot be read as a store: {error}"
            raise (UnavailableError if is_passing(error) else SettingsError)(msg) from error
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            msg = f"{path} holds a row that this release cannot read: {error}"
            raise SettingsError(msg) from error
        self._image.load(rows)

    def known(self, keys: LookupKeys) -> Known:
        """As of the opening."""
        return self._image.known(keys, self._clock())

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        return self._image.tagged(tags, interval, match_mode, namespace)

    def content(self, digest: str) -> ContentRow | None:
        """A content by digest."""
        return self._image.contents([digest]).get(digest)


def _stored(path: Path) -> list[tuple[Any, ...]]:
    with translated_os_errors(path, "read as a store"), path.open("rb"):
        pass
    # With a log beside it somebody writes, and SQLite must be told to look there. Without one the file
    # is at rest: taken as immutable, no side file is made for it.
    resting = not path.with_name(path.name + "-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if resting else ''}"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rooms'").fetchone():
            msg = f"{path} holds no graph: it is no store of a flow"
            raise SettingsError(msg)
        found = connection.execute("SELECT version FROM rooms WHERE room = 'graph'").fetchone()
        if found != (VERSION,):
            msg = (
                f"{path} has a graph in version {found[0] if found else None!r}; this release reads {VERSION}"
            )
            raise SettingsError(msg)
        return connection.execute("SELECT kind, key, value FROM graph_rows").fetchall()
