"""The embedded broker's topics in an SQLite file: they outlive the process, as topics of a broker do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.rows import TopicSpec
from dagmanager.engine.model.topics_port import CreateResult, CreateStatus, TopicConfig, TopicInfo
from dagmanager.topics.memory import random_id
from dagmanager.topics.rules import check_creation, collision_key, stored_retention_ms

VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE topics (topic TEXT PRIMARY KEY, collision_key TEXT NOT NULL UNIQUE, topic_id TEXT NOT NULL,"
    " partitions INTEGER NOT NULL, replication INTEGER NOT NULL, retention_ms INTEGER NOT NULL,"
    " cleanup_policy TEXT NOT NULL, described INTEGER NOT NULL) WITHOUT ROWID",
)


class SqliteTopics:
    """As `MemoryTopics`, kept in a file that other stores may share.

    Every method raises what `SqliteFile` raises, and blocks at most as long.
    """

    def __init__(
        self,
        file: SqliteFile,
        brokers: int = 1,
        ready_after: int = 0,
        new_id: Callable[[], str] = random_id,
    ) -> None:
        """Create the table unless it exists.

        `brokers` is how many brokers this one claims to be; a new topic is `ready` after it was described
        `ready_after` times; `new_id` gives topic ids. Tests set the last two.
        """
        self._file = file
        self._brokers = brokers
        self._ready_after = ready_after
        self._new_id = new_id
        file.create("topics", VERSION, _TABLES)

    def brokers(self) -> int:
        """The number given to the constructor."""
        return self._brokers

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """These topics, without those that do not exist."""
        with self._file.reading() as connection:
            rows = [row for topic in topics if (row := _row(connection, topic)) is not None]
        # Only a test sets `ready_after`; without it, describing writes nothing.
        waiting = [row[0] for row in rows if row[-1] < self._ready_after]
        if waiting:
            with self._file.writing() as connection:
                connection.executemany(
                    "UPDATE topics SET described = described + 1 WHERE topic = ?",
                    [(topic,) for topic in waiting],
                )
        return {row[0]: TopicInfo(*(*row[:-1], row[-1] >= self._ready_after)) for row in rows}

    def configs(self, topics: Sequence[str]) -> Mapping[str, TopicConfig]:
        """The configuration that each topic was created with; topics that do not exist are left out."""
        query = "SELECT retention_ms, cleanup_policy FROM topics WHERE topic = ?"
        with self._file.reading() as connection:
            rows = {topic: connection.execute(query, (topic,)).fetchone() for topic in topics}
        return {topic: TopicConfig(*row) for topic, row in rows.items() if row is not None}

    def create(self, specs: Mapping[str, TopicSpec]) -> Mapping[str, CreateResult]:
        """One result per topic, in one transaction; durable before it returns. Idempotent (`exists`)."""
        with self._file.writing() as connection:
            return {topic: self._created(connection, topic, spec) for topic, spec in specs.items()}

    def delete(self, topics: Sequence[str]) -> None:
        """Remove topics; those that do not exist are ignored. A topic created again has another id."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM topics WHERE topic = ?", [(topic,) for topic in topics])

    def names(self) -> tuple[str, ...]:
        """Every topic, sorted. For audits and tests only: no decision may list all topics."""
        with self._file.reading() as connection:
            return tuple(name for (name,) in connection.execute("SELECT topic FROM topics ORDER BY topic"))

    def _created(self, connection: sqlite3.Connection, topic: str, spec: TopicSpec) -> CreateResult:
        key = collision_key(topic)
        twin = connection.execute("SELECT topic FROM topics WHERE collision_key = ?", (key,)).fetchone()
        result = check_creation(topic, spec, twin[0] if twin else None, self._brokers)
        if result.status is CreateStatus.CREATED:
            size = (spec.partitions, spec.replication, stored_retention_ms(spec), spec.cleanup_policy)
            connection.execute(
                "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?, 0)", (topic, key, self._new_id(), *size)
            )
        return result


def _row(connection: sqlite3.Connection, topic: str) -> Any:
    """The fields of `TopicInfo`, with the number of describes in place of `ready`."""
    return connection.execute(
        "SELECT topic, topic_id, partitions, replication, described FROM topics WHERE topic = ?",
        (topic,),
    ).fetchone()
