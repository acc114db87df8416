"""The embedded broker's topics in an SQLite file, so that they outlive the process as real ones do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo
from dagmanager.topics.memory import random_id
from dagmanager.topics.rules import collision_key, kept_ms, verdict

VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE topics (topic TEXT PRIMARY KEY, collision_key TEXT NOT NULL UNIQUE, topic_id TEXT NOT NULL,"
    " partitions INTEGER NOT NULL, replication INTEGER NOT NULL, retention_ms INTEGER NOT NULL,"
    " cleanup_policy TEXT NOT NULL, described INTEGER NOT NULL) WITHOUT ROWID",
)


class TransactionalFile(Protocol):
    """An SQLite file that may hold other rooms too; the graph's `SqliteFile` is one.

    It is handed in because topics and graph do not know each other.
    """

    def create(self, room: str, version: int, statements: Sequence[str]) -> None:
        """Make a room's tables unless they are there; refuse those of another version."""
        ...

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """One consistent view."""
        ...

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Alone among all processes; all is kept, or nothing after an exception."""
        ...


class SqliteTopics:
    """As `MemoryTopics`, kept in a file. `UnavailableError` when others keep it too long."""

    def __init__(
        self,
        file: TransactionalFile,
        brokers: int = 1,
        ready_after: int = 0,
        new_id: Callable[[], str] = random_id,
    ) -> None:
        """Make the table if need be."""
        self._file = file
        self._brokers = brokers
        self._ready_after = ready_after
        self._new_id = new_id
        file.create("topics", VERSION, _TABLES)

    def brokers(self) -> int:
        """How many brokers there are said to be."""
        return self._brokers

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Just these; absent ones are left out."""
        with self._file.reading() as connection:
            rows = [row for topic in topics if (row := _row(connection, topic)) is not None]
        waiting = [row[0] for row in rows if row[-1] < self._ready_after]
        if waiting:
            with self._file.writing() as connection:
                connection.executemany(
                    "UPDATE topics SET described = described + 1 WHERE topic = ?",
                    [(topic,) for topic in waiting],
                )
        return {row[0]: TopicInfo(*(*row[:-1], row[-1] >= self._ready_after)) for row in rows}

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """What was asked for when they were made."""
        asked = "SELECT retention_ms, cleanup_policy FROM topics WHERE topic = ?"
        with self._file.reading() as connection:
            rows = {topic: connection.execute(asked, (topic,)).fetchone() for topic in topics}
        return {topic: TopicConfig(*row) for topic, row in rows.items() if row is not None}

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """One answer per topic, decided one after the other; durable before it returns."""
        with self._file.writing() as connection:
            return {topic: self._created(connection, topic, spec) for topic, spec in specs.items()}

    def delete(self, topics: Sequence[str]) -> None:
        """Remove topics; absent ones are fine. The name may come back, with another id."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM topics WHERE topic = ?", [(topic,) for topic in topics])

    def names(self) -> tuple[str, ...]:
        """Every topic, sorted: for an audit, never for a decision."""
        with self._file.reading() as connection:
            return tuple(name for (name,) in connection.execute("SELECT topic FROM topics ORDER BY topic"))

    def _created(self, connection: sqlite3.Connection, topic: str, spec: TopicSpec) -> CreateResult:
        key = collision_key(topic)
        twin = connection.execute("SELECT topic FROM topics WHERE collision_key = ?", (key,)).fetchone()
        answer = verdict(topic, spec, twin[0] if twin else None, self._brokers)
        if answer.status is CreateStatus.CREATED:
            size = (spec.partitions, spec.replication, kept_ms(spec), spec.cleanup_policy)
            connection.execute(
                "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?, 0)", (topic, key, self._new_id(), *size)
            )
        return answer


def _row(connection: sqlite3.Connection, topic: str) -> Any:
    """The fields of `TopicInfo`, `ready` replaced by how often it was described."""
    return connection.execute(
        "SELECT topic, topic_id, partitions, replication, described FROM topics WHERE topic = ?",
        (topic,),
    ).fetchone()
