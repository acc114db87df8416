"""One transaction on a Neo4j server, as the engine sees it.

The server reads what is committed at each moment, so nothing that decides is read before its lock
(`Locks`); the order of locks is checked here as in the embedded graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString

import msgspec

from dagmanager.bounded_cache import BoundedCache
from dagmanager.engine.model.graph_port import (
    Known,
    Locks,
    LookupKeys,
    NodeUsage,
    OpenClaim,
    TaggedQueue,
    TagQuestion,
    TakenName,
)
from dagmanager.engine.model.rows import (
    ContentRow,
    CounterRow,
    HolderRow,
    NodeRow,
    OutboxRow,
    QueueRow,
    Row,
    SentinelKey,
    TagSetKey,
    TagSetRow,
)
from dagmanager.errors import ConstraintError
from dagmanager.graph.lock_order import LockOrder
from dagmanager.graph.neo4j import reads, writes
from dagmanager.graph.neo4j.keys import clipped, lineage_key, sentinel_key, tag_key, tag_set_key
from dagmanager.graph.neo4j.result_mapping import (
    known,
    node_usage,
    open_claim,
    tagged,
    waiting_events,
    with_queues,
)
from dagmanager.graph.neo4j.row_mapping import decoded

EPOCH: Final = "epoch"
# Contents by digest: written once, they never change. One that another process removed may still be here: whoever
# asks for a content knows it from a version, and a content stays as long as a version is of it.
Contents = BoundedCache[str, ContentRow]


def _kinds(locks: dict[str, list[Any]]) -> list[str]:
    return [kind for kind, keys in locks.items() if keys]


def _no_locks() -> dict[str, list[Any]]:
    return {kind: [] for kind in writes.LOCKS}


class Neo4jTransaction:
    """See `dagmanager.engine.model.graph_port.Transaction`.

    `broken` is the constraint that a write ran into: the server will not commit after that, even if
    `work` goes on. `wrote` tells whether there is anything to commit.
    """

    def __init__(self, run: writes.Run, contents: Contents) -> None:
        """`run` runs one statement inside the open transaction; `contents` were read before."""
        # Shared with later transactions: only what is committed. What this one wrote stays its own.
        self._contents = contents
        self._own_contents: dict[str, ContentRow | None] = {}
        self._open_run: writes.Run | None = run
        self._order = LockOrder()
        self._now_ms: int | None = None
        # What a lock covers is told with it, and is ours to change until the end.
        self._counted: dict[str, int] = {}
        self._revised: dict[str, int] = {}
        # Puts wait for the next question or the end: one round trip for all. Locks wait for it, too, and are taken in
        # one statement with it. What waits in `_waiting` is under locks that are taken.
        self._waiting: dict[tuple[type[Row], Any], Row] = {}
        self._locks: dict[str, list[Any]] = _no_locks()
        self.broken: ConstraintError | None = None
        self.wrote = False

    def close(self) -> None:
        """From now on every call is an error: the transaction is over."""
        self._open_run = None

    def flush(self) -> None:
        """Send what waits to be written; before the next question, or before the transaction is committed."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            run = self._must_be_open()
            self._change(lambda: writes.put(run, tuple(waiting.values())))

    def committed(self) -> None:
        """What was written is true now, for later transactions as well."""
        for row in self._own_contents.values():
            if row is not None:
                self._contents.keep(row.digest, row, len(row.members))

    def now_ms(self) -> int:
        """The server's clock when the last locks were taken."""
        self._take_locks()
        if self._now_ms is None:
            self._now_ms = self._run(reads.NOW, {})[0]["now"]
        return self._now_ms

    def lock(self, locks: Locks) -> None:
        """Wait for these; names need none, since their constraints decide."""
        self._must_be_open()
        locks = self._order.lock(locks)
        wanted: dict[str, list[Any]] = {
            "lock_lineages": [lineage_key(each) for each in locks.lineages],
            "lock_nodes": [clipped(each) for each in locks.nodes],
            "lock_counters": [clipped(each) for each in locks.counters],
            "lock_tags": [tag_key(*each) for each in locks.tags],
            "lock_tag_sets": [tag_set_key(each) for each in locks.tag_sets],
            "lock_single": ["epoch"] * locks.epoch + ["publisher"] * locks.publisher,
        }
        self._locks = {name: [*self._locks[name], *keys] for name, keys in wanted.items()}
        if wanted["lock_counters"] or wanted["lock_tag_sets"]:
            self._take_locks()  # their values are what is wanted

    def known(self, keys: LookupKeys) -> Known:
        """As committed, with this transaction's own writes; stable where it is locked."""
        told = known(self._run, keys)
        self._now_ms = self._now_ms or told.now_ms
        return msgspec.structs.replace(told, now_ms=self._now_ms)

    def tagged(
        self, tags: tuple[str, ...], interval: int, match_mode: str, namespace: str
    ) -> tuple[TaggedQueue, ...]:
        """The queues behind a tag query, sorted by topic."""
        return self.tagged_sets([TagQuestion(tags, interval, match_mode, namespace)])[0]

    def tagged_sets(self, asked: Sequence[TagQuestion]) -> tuple[tuple[TaggedQueue, ...], ...]:
        """The queues behind each of several tag queries."""
        return tagged(self._run, asked)

    def contents(self, digests: Iterable[str]) -> Mapping[str, ContentRow]:
        """Contents by digest."""
        wanted = set(digests)
        own = {each: self._own_contents[each] for each in wanted if each in self._own_contents}
        wanted.difference_update(own)
        found = {each: row for each in wanted if (row := self._contents.get(each)) is not None}
        if missing := sorted({clipped(each) for each in wanted.difference(found)}):
            read = decoded(self._run(reads.CONTENTS, {"digests": missing})[0]["rows"])
            for row in read:
                self._contents.keep(row.digest, row, len(row.members))
                found[row.digest] = row
        return found | {digest: row for digest, row in own.items() if row is not None}

    def taken(self, topics: Iterable[str], base_names: Iterable[str] = ()) -> TakenName:
        """Folded names that are, or were, in use."""
        asked = {"topics": sorted(topics), "base_names": sorted(base_names)}
        found = self._run(reads.TAKEN, asked)[0]
        return TakenName(frozenset(found["topics"]), frozenset(found["base_names"]))

    def referenced(self, namespace: str, node_ids: Iterable[str]) -> frozenset[str]:
        """Nodes in, or a dependency in, a referencing content."""
        by_key = {clipped(each): each for each in node_ids}
        self._order.must_hold_nodes(by_key.values())
        found = self._run(reads.REFERENCED, {"ids": sorted(by_key), "namespace": namespace})
        return frozenset(by_key[each] for each in found[0]["ids"])

    def content_referenced(self, digest: str, namespace: str) -> bool:
        """Whether a referencing sentinel of the namespace is of this content."""
        keys = {"digest": clipped(digest), "namespace": namespace}
        return bool(self._run(reads.CONTENT_REFERENCED, keys)[0]["referenced"])

    def node_usage(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, NodeUsage]:
        """Node rows with what is in force of their tags and their current shared queues.

        Queues that wait to be written need not be sent for this: a thousand of them are read five times faster before
        they are written in this transaction than after.
        """
        self._order.must_hold_nodes(asked)
        # What keeps a tag may wait, too, and a node whose queues were there before it.
        if any(map(tuple, asked.values())) or any((NodeRow, each) in self._waiting for each in asked):
            return node_usage(self._run, asked)
        queues = (row for row in self._waiting.values() if isinstance(row, QueueRow))
        return with_queues(node_usage(self._ask, asked), queues)

    def tag_queries(self, asked: Iterable[tuple[str, int]]) -> tuple[NodeRow, ...]:
        """Registered tag queries, by node id."""
        keys = sorted({tag_key(*each) for each in asked})
        return tuple(decoded(row["row"] for row in self._run(reads.TAG_QUERIES, {"keys": keys})))

    def tag_revisions(self, keys: Iterable[TagSetKey]) -> Mapping[TagSetKey, int]:
        """The current revisions, 0 for a new set."""
        wanted = tuple(keys)
        found = self._values(reads.TAG_REVISIONS, [tag_set_key(each) for each in wanted], self._revised)
        return {each: found[tag_set_key(each)] for each in wanted}

    def nodes(self, node_ids: Iterable[str]) -> Mapping[str, NodeRow]:
        """Node rows by id."""
        ids = sorted({clipped(each) for each in node_ids})
        return {row.key: row for row in decoded(self._run(reads.NODES, {"ids": ids})[0]["rows"])}

    def queues_by_topic(self, topics: Iterable[str]) -> Mapping[str, QueueRow]:
        """Queue rows by topic."""
        wanted = sorted(set(topics))
        if not wanted:
            return {}
        found = self._run(reads.QUEUES_BY_TOPIC, {"topics": wanted})
        return {row.topic: row for row in decoded(found[0]["rows"])}

    def claims(self, claim_id: str) -> OpenClaim:
        """What is provisioning and pending under this claim."""
        found, now_ms = open_claim(self._run, claim_id)
        self._now_ms = self._now_ms or now_ms
        return found

    def holders_of(self, sentinel: SentinelKey) -> tuple[HolderRow, ...]:
        """Who holds this sentinel, by key."""
        found: list[HolderRow] = decoded(
            self._run(reads.HOLDERS_OF, {"key": sentinel_key(sentinel)})[0]["rows"]
        )
        return tuple(sorted(found, key=lambda row: row.key))

    def put(self, rows: Sequence[Row]) -> None:
        """Insert or replace; what rivals decide from is written under its lock only."""
        self._must_be_open()
        for row in rows:
            self._order.must_hold(row)
        self.wrote = True
        self._take_locks()
        for row in rows:
            self._remember(row, gone=False)
            place = type(row), row.key
            if place in self._waiting and isinstance(row, NodeRow | QueueRow):
                self.flush()  # a name passes from one row to another only one after the other
            self._waiting[place] = row

    def delete(self, rows: Sequence[Row]) -> None:
        """Remove by key; a queue row is a tombstone one day and never goes."""
        self._take_locks()
        for row in rows:
            self._order.must_hold(row)
            if isinstance(row, QueueRow):
                msg = f"queue rows are never removed: {row.topic}"
                raise AssertionError(msg)
            self._remember(row, gone=True)
        self._change(lambda: writes.delete(self._run, rows))

    def waiting_events(self, limit: int) -> tuple[OutboxRow, ...]:
        """Outbox rows not yet published, in order."""
        return waiting_events(self._run, limit)

    def counters(self, names: Iterable[str]) -> Mapping[str, int]:
        """Named counters, 0 when new."""
        wanted = tuple(names)
        found = self._values(reads.COUNTERS, [clipped(each) for each in wanted], self._counted)
        return {each: found[clipped(each)] for each in wanted}

    def raise_epoch(self) -> int:
        """Add one to the epoch; this locks it, so that tag sets must be locked before."""
        self._order.lock_epoch()
        self._take_locks()
        self.wrote = True
        self._counted.pop(EPOCH, None)
        return int(self._run(writes.RAISE_EPOCH, {})[0]["value"])

    def _values(self, statement: LiteralString, keys: list[str], locked: dict[str, int]) -> dict[str, int]:
        asked = [key for key in keys if key not in locked]
        read = self._run(statement, {"keys": asked}) if asked else ()
        found = locked | {row["key"]: row["value"] for row in read}
        return {key: int(found.get(key) or 0) for key in keys}

    def _remember(self, row: Row, *, gone: bool) -> None:
        """What this transaction writes is what it is told from then on."""
        match row:
            case ContentRow(digest):
                self._contents.forget(digest)
                self._own_contents[digest] = None if gone else row
            case CounterRow(name, value) if clipped(name) in self._counted:
                self._counted[clipped(name)] = 0 if gone else value
            case TagSetRow(key, revision) if tag_set_key(key) in self._revised:
                self._revised[tag_set_key(key)] = 0 if gone else revision
            case _:
                pass

    def _change(self, write: Any) -> None:
        self.wrote = True
        try:
            write()
        except ConstraintError as error:
            self.broken = error
            raise

    def _run(self, statement: LiteralString, parameters: dict[str, Any]) -> list[Any]:
        """Ask, after what waits was written, under the locks that wait."""
        self.flush()
        return self._ask(statement, parameters)

    def _ask(self, statement: LiteralString, parameters: dict[str, Any]) -> list[Any]:
        """Ask under the locks that wait, of what is written."""
        run = self._must_be_open()
        if not any(self._locks.values()):
            return run(statement, parameters)
        locks, self._locks = self._locks, _no_locks()
        self._now_ms = None  # of before the wait; whoever needs it is told it, or asks
        return run(writes.locking(_kinds(locks), statement), parameters | locks)

    def _take_locks(self) -> None:
        """The locks that wait, without a question."""
        run = self._must_be_open()
        if any(self._locks.values()):
            locks, self._locks = self._locks, _no_locks()
            told = run(writes.locking(_kinds(locks)), locks)[0]
            self._now_ms = told["now"]
            self._counted |= {key: int(value or 0) for key, value in told["counters"]}
            self._revised |= {key: int(value or 0) for key, value in told["tag_sets"]}

    def _must_be_open(self) -> writes.Run:
        if self._open_run is None:
            msg = "this transaction is over"
            raise AssertionError(msg)
        return self._open_run
