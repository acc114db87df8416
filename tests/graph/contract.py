"""What every Graph promises about transactions: atomic and isolated, each answer one instant.

Runs unchanged on a server: no clock is injected, no internals are touched, and a second handle stands
for another process. The files beside it hold what is promised of rivals, locks and the
single questions.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dagmanager.engine.model.graph_port import Graph, LookupKeys, Transaction
from dagmanager.engine.model.rows import Binding, CounterRow, QueueState, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import LineageKey, SentinelState
from tests.graph.answers import NODES, answers, answers_of
from tests.graph.builders import (
    content,
    event,
    holder,
    known_bindings,
    lineage_row,
    locks_for,
    node,
    now_of,
    outcome,
    put,
    queue,
    remove,
    sentinel,
    store,
)
from tests.waiting import TIMEOUT_S, until


class WorldEndedError(Exception):
    """What the tests throw in the middle of a transaction."""


def one_of_each() -> list[Row]:
    """Every type of row, related as the engine relates them."""
    active = sentinel("c1", "l1")
    pending = sentinel(
        "c2", "l1", version="v2", state=SentinelState.PENDING, claim_id="k1", owner="me", lease_until_ms=1
    )
    return [
        node("n1", base_name="one", tags=("t1",)),
        node("n2", base_name="two", depends_on=("n1",)),
        queue("a.x", "n1"),
        queue("b", "n2", state=QueueState.PROVISIONING, claim_id="k1", owner="me", lease_until_ms=1),
        queue("c", "n2", safe="s1"),
        content("c1", ("n1", ("t1",))),
        content("c2", "n2"),
        active,
        pending,
        lineage_row("l1"),
        holder("s1", active.key),
        TagSetRow(TagSetKey(("t1",), 60), 3),
        outcome("k1", "a.x", "b"),
        event("x", 1, 10),
        CounterRow("published:x", 2),
    ]


def other_versions() -> list[Row]:
    """The same keys with other values."""
    left = sentinel("c1", "l1", state=SentinelState.SUPERSEDED)
    return [
        node("n1", base_name="one", tags=("t2",)),
        queue("a.x", "n1", state=QueueState.CONDEMNED),
        queue("b", "n2", state=QueueState.ACTIVE),
        left,
        lineage_row("l1", at_ms=9),
        holder("s1", sentinel("c2", "l1", version="v2").key),
        TagSetRow(TagSetKey(("t1",), 60), 4),
        outcome("k1", "c"),
        CounterRow("published:x", 5),
    ]


class AtomicityContract:
    def test_what_work_returns_is_returned_and_what_it_wrote_is_kept(
        self, graph: Graph, rival: Graph
    ) -> None:
        empty = answers(graph)

        def work(tx: Transaction) -> str:
            put(tx, [node("n1")])
            return "done"

        assert graph.transact(work) == "done"
        assert answers(graph) != empty
        assert answers(rival) == answers(graph)

    @pytest.mark.parametrize("point", range(len(one_of_each()) + 1))
    def test_an_exception_at_any_point_of_the_first_writes_leaves_nothing(
        self, graph: Graph, point: int
    ) -> None:
        before = answers(graph)
        fail_after(graph, [("put", row) for row in one_of_each()[:point]])
        assert answers(graph) == before

    @pytest.mark.parametrize("point", range(len(other_versions()) + 1))
    def test_an_exception_at_any_point_of_replacing_leaves_what_was(self, graph: Graph, point: int) -> None:
        store(graph, *one_of_each())
        before = answers(graph)
        fail_after(graph, [("put", row) for row in other_versions()[:point]])
        assert answers(graph) == before

    def test_an_exception_after_deleting_leaves_what_was(self, graph: Graph, rival: Graph) -> None:
        rows = one_of_each()
        store(graph, *rows)
        before = answers(graph)
        fail_after(graph, [("delete", row) for row in rows if row.key not in {"a.x", "b", "c"}])
        assert answers(graph) == before
        assert answers(rival) == before

    def test_a_next_incarnation_that_fails_leaves_the_one_before(self, graph: Graph) -> None:
        store(graph, *one_of_each())
        before = answers(graph)
        fail_after(
            graph, [("put", queue("b_v2", "n1", incarnation=2)), ("put", queue("d", "n2", incarnation=3))]
        )
        assert answers(graph) == before

    def test_the_epoch_is_taken_back_too(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            tx.raise_epoch()
            raise WorldEndedError

        graph.transact(lambda tx: tx.raise_epoch())
        with pytest.raises(WorldEndedError):
            graph.transact(work)
        assert graph.epoch() == 1

    def test_an_interrupt_takes_everything_back(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            put(tx, [node("n1")])
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            graph.transact(work)
        assert not graph.transact(lambda tx: tx.nodes(["n1"]))

    def test_other_errors_are_not_retried(self, graph: Graph) -> None:
        runs: list[int] = []

        def work(tx: Transaction) -> None:
            runs.append(tx.now_ms())
            raise WorldEndedError

        with pytest.raises(WorldEndedError):
            graph.transact(work)
        assert len(runs) == 1

    def test_a_transaction_sees_its_own_writes_in_every_answer(self, graph: Graph) -> None:
        def work(tx: Transaction) -> tuple[Any, Any]:
            tx.lock(locks_for([*one_of_each(), *other_versions()], NODES))
            tx.put(one_of_each())
            first = answers_of(tx)
            tx.put(other_versions())
            tx.delete([event("x", 1, 10)])
            tx.raise_epoch()
            return first, answers_of(tx)

        first, second = graph.transact(work)
        assert first != second
        assert graph.transact(answers_of) == second

    def test_delete_of_absent_rows_is_fine(self, graph: Graph) -> None:
        before = answers(graph)
        remove(graph, *[row for row in one_of_each() if row.key not in {"a.x", "b", "c"}])
        assert answers(graph) == before

    def test_what_was_deleted_is_forgotten(self, graph: Graph, rival: Graph) -> None:
        before = answers(graph)
        rows = [row for row in one_of_each() if row.key not in {"a.x", "b", "c"}]
        store(graph, *rows)
        remove(rival, *rows)
        assert answers(rival) == before
        # A content is immutable, so that a store may cache it.
        assert {**answers(graph), "contents": before["contents"]} == before

    def test_queue_rows_are_never_removed(self, graph: Graph) -> None:
        store(graph, queue("b"))
        with pytest.raises(AssertionError, match="never removed"):
            remove(graph, queue("b"))
        assert graph.transact(lambda tx: tx.queues_by_topic(["b"])).keys() == {"b"}


def fail_after(graph: Graph, steps: list[tuple[str, Row]]) -> None:
    """Do these writes one by one in a transaction, then fail."""

    def work(tx: Transaction) -> None:
        tx.lock(locks_for([row for _, row in steps]))
        for how, row in steps:
            getattr(tx, how)([row])
        tx.raise_epoch()
        raise WorldEndedError

    with pytest.raises(WorldEndedError):
        graph.transact(work)


def next_millisecond() -> None:
    """Wait until the clock of this machine, by which every store counts, shows a later one."""
    began = time.time_ns() // 1_000_000
    until(lambda: time.time_ns() // 1_000_000 > began)


class IsolationContract:
    def test_a_reader_sees_all_of_a_transaction_or_nothing(self, graph: Graph, rival: Graph) -> None:
        first, second = Binding("n1", ""), Binding("n2", "")
        seen: list[frozenset[Binding]] = []
        reader = threading.Thread(
            target=lambda: seen.append(frozenset(known_bindings(rival, first, second).queues))
        )

        def work(tx: Transaction) -> None:
            put(tx, [queue("a.x", "n1")])
            reader.start()
            reader.join(0.05)  # a store whose reads wait for the transaction answers only after it
            put(tx, [queue("b", "n2")])

        graph.transact(work)
        reader.join(TIMEOUT_S)
        assert seen in ([frozenset()], [frozenset({first, second})])

    def test_an_answer_does_not_change_later(self, graph: Graph) -> None:
        store(graph, node("n1", tags=("t1",)), queue("b", "n1"))
        before = known_bindings(graph, Binding("n1", ""), Binding("n2", ""))
        store(graph, node("n1", tags=("t2",)), queue("c", "n2"))
        assert before.nodes["n1"].tags == ("t1",)
        assert set(before.queues) == {Binding("n1", "")}

    def test_a_transaction_has_one_clock_value(self, graph: Graph) -> None:
        def work(tx: Transaction) -> set[int]:
            first = tx.now_ms()
            next_millisecond()
            return {first, tx.now_ms(), tx.known(LookupKeys()).now_ms}

        assert len(graph.transact(work)) == 1

    def test_the_clock_advances(self, graph: Graph) -> None:
        first = now_of(graph)
        next_millisecond()
        assert first < graph.transact(lambda tx: tx.now_ms()) <= now_of(graph)


class SnapshotContract:
    """What a store promises beyond the Protocol when one call reads one instant: the embedded ones do."""

    def test_known_is_one_instant(self, graph: Graph, rival: Graph) -> None:
        """Writers move a queue and a lineage in one step; no answer may have one without the other."""
        binding, lineage = Binding("n1", ""), LineageKey("l1", "")
        keys = LookupKeys(bindings=frozenset({binding}), lineages=frozenset({lineage}))

        def write() -> None:
            for at_ms in range(1, 40):
                store(rival, queue("b", "n1", ttl_ms=at_ms), lineage_row("l1", at_ms=at_ms))

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while not writer.done():
                known = graph.known(keys)
                found = {row.ttl_ms for row in known.queues.values()}
                assert found == {row.last_at_ms for row in known.lineages.values()}
            writer.result()
