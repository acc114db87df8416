"""The graph on a Neo4j server: the single source of truth in production. See `retry` for what is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, LiteralString, TypeVar

import neo4j

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.graph_port import (
    EpochReading,
    HolderInsert,
    Known,
    LookupKeys,
    TaggedQueue,
    TagQuestion,
    Transaction,
)
from dagmanager.engine.model.rows import EPOCH_COUNTER, CounterRow, OutboxRow, QueueRow, Row
from dagmanager.graph.neo4j import reads, schema, writes
from dagmanager.graph.neo4j.result_mapping import known, tagged, waiting_events
from dagmanager.graph.neo4j.retry import reachable, retried, translated
from dagmanager.graph.neo4j.row_mapping import decoded, insert_parameters
from dagmanager.graph.neo4j.server import Server
from dagmanager.graph.neo4j.transaction import Contents, Neo4jTransaction

T = TypeVar("T")

# Size of the contents cache: members of all cached contents together.
CACHED_MEMBERS: Final = 100_000


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

        return retried(self._server, once)

    def foreign_labels(self) -> tuple[str, ...]:
        """Labels of other products, sorted, if this product has no data in the database yet; else none.

        A database with some may be the wrong one.
        """

        def once() -> tuple[str, ...]:
            with self._session() as session:
                return () if schema.is_ours(session) else schema.foreign_labels(session)

        return retried(self._server, once)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` atomically. It may run several times (see the module), so it must have no other effects.

        Raises also `ConstraintError` when a unique name was taken in each of `CONSTRAINT_TRIES` tries.
        """
        return retried(self._server, lambda: self._once(work))

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
        for statement in (*reads.WARMED_READS, *writes.WARMED_WRITES):
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
        with self._session() as session, translated(self._server):
            with reachable():
                opened = session.begin_transaction(timeout=self._server.transaction_within_s)
            try:
                tx = Neo4jTransaction(self._runner(opened), self._contents)
                try:
                    result = work(tx)
                    if tx.broken is None:
                        tx.flush()
                finally:
                    tx.close()
                if tx.broken is not None:
                    raise tx.broken
                if tx.wrote:
                    opened.commit()
                    tx.committed()
                return result
            finally:
                opened.close()  # rolls back what was not committed

    def _read(self, query: Callable[[Callable[..., list[Any]]], T]) -> T:
        """One statement in a transaction of its own (the driver's auto-commit), tried again as `transact`."""

        def once() -> T:
            with self._session() as session:
                return query(self._runner(session))

        return retried(self._server, once)

    def _runner(
        self, runs: neo4j.Session | neo4j.Transaction
    ) -> Callable[[LiteralString, dict[str, Any]], list[Any]]:
        def run(statement: LiteralString, parameters: dict[str, Any]) -> list[Any]:
            with translated(self._server), reachable():
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
