"""What every Graph promises about transactions: atomic, isolated, ordered locks, rivals.

Runs unchanged on a server: no clock is injected, no internals are touched, and a second handle stands
for another process. `contract_questions` holds what the single questions promise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar

import pytest

from dagmanager.engine.ports import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.rows import (
    Binding,
    CounterRow,
    LineageKey,
    LineageRow,
    QueueState,
    Row,
    SentinelState,
    TagSetKey,
    TagSetRow,
    fold,
)
from dagmanager.errors import ConstraintError
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

T = TypeVar("T")
RIVALS = 6
ROUNDS = 8


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


def concurrently(count: int, work: Callable[[int], T]) -> list[T]:
    """`work(0) … work(count - 1)` in threads that start together."""
    barrier = threading.Barrier(count)

    def started(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))


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
        assert answers(graph) == before

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
            time.sleep(0.05)
            put(tx, [queue("b", "n2")])

        graph.transact(work)
        reader.join(10)
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
            time.sleep(0.005)
            return {first, tx.now_ms(), tx.known(LookupKeys()).now_ms}

        assert len(graph.transact(work)) == 1

    def test_the_clock_goes_on(self, graph: Graph) -> None:
        first = now_of(graph)
        time.sleep(0.005)
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
                time.sleep(0.0005)
            writer.result()


class ConstraintContract:
    def test_a_topic_belongs_to_one_binding(self, graph: Graph, rival: Graph) -> None:
        store(graph, queue("b", "n1", claim_id="k1"))
        with pytest.raises(ConstraintError):
            store(rival, queue("b", "n2"))
        assert graph.transact(lambda tx: tx.queues_by_topic(["b"]))["b"].claim_id == "k1"

    @pytest.mark.parametrize("taken", ["b.x", "b_x", "B.x", "b.X"])
    def test_work_runs_again_when_a_topic_is_taken(self, graph: Graph, taken: str) -> None:
        store(graph, queue("b.x", "n1"))
        tried: list[str] = []

        def work(tx: Transaction) -> str:
            topic = "free" if tried else taken
            tried.append(topic)
            put(tx, [node("n2"), queue(topic, "n2")])
            return topic

        assert graph.transact(work) == "free"
        assert tried == [taken, "free"]
        assert graph.transact(lambda tx: tx.queues_by_topic(["b.x"]))["b.x"].binding.node_id == "n1"
        assert graph.transact(lambda tx: tx.queues_by_topic(["free"])).keys() == {"free"}

    @pytest.mark.parametrize("taken", ["one", "ONE"])
    def test_work_runs_again_when_a_base_name_is_taken(self, graph: Graph, taken: str) -> None:
        store(graph, node("n1", base_name="one"))
        tried: list[str] = []

        def work(tx: Transaction) -> None:
            tried.append("other" if tried else taken)
            put(tx, [node("n2", base_name=tried[-1])])

        graph.transact(work)
        assert tried == [taken, "other"]
        found = graph.transact(lambda tx: tx.nodes(["n1", "n2"]))
        assert {row.node_id: row.base_name for row in found.values()} == {"n1": "one", "n2": "other"}

    def test_a_name_that_stays_taken_ends_with_the_error_and_nothing_kept(self, graph: Graph) -> None:
        store(graph, queue("b.x", "n1"))
        before = answers(graph)
        runs: list[int] = []

        def work(tx: Transaction) -> None:
            runs.append(1)
            put(tx, [node("n2"), queue("B_X", "n2")])

        with pytest.raises(ConstraintError) as caught:
            graph.transact(work)
        assert caught.value.key == fold("b.x")
        assert 1 < len(runs) < 50
        assert answers(graph) == before

    def test_a_conflict_cannot_be_swallowed(self, graph: Graph) -> None:
        """A server has ended the transaction by then; going on would lose what was written before."""
        store(graph, queue("b", "n1"))
        runs: list[int] = []

        def work(tx: Transaction) -> None:
            runs.append(1)
            put(tx, [node("n2")])
            if len(runs) == 1:
                with pytest.raises(ConstraintError):
                    put(tx, [queue("B", "n2")])

        graph.transact(work)
        assert len(runs) == 2

    def test_a_row_may_be_replaced_under_its_own_name(self, graph: Graph) -> None:
        store(graph, queue("b", "n1"), node("n1", base_name="one"))
        store(graph, queue("b", "n1", state=QueueState.DROPPED), node("n1", base_name="one", tags=("t1",)))
        assert graph.transact(lambda tx: tx.nodes(["n1"]))["n1"].tags == ("t1",)

    @pytest.mark.parametrize("state", QueueState)
    def test_no_topic_name_is_ever_free_again(self, graph: Graph, state: QueueState) -> None:
        store(graph, queue("b.x", "n1"))
        store(graph, queue("b.x", "n1", state=state), queue("b_v2", "n1", incarnation=2))
        assert graph.transact(lambda tx: tx.taken_names(["b_x", "b_v2", "c"])) == {"b_x", "b_v2"}
        with pytest.raises(ConstraintError):
            store(graph, queue("b_x", "n2"))

    def test_a_deleted_nodes_base_name_is_free(self, graph: Graph) -> None:
        store(graph, node("n1", base_name="one"))
        remove(graph, node("n1", base_name="one"))
        store(graph, node("n2", base_name="One"))
        assert graph.transact(lambda tx: tx.base_names_taken(["one", "two"])) == {"one"}

    def test_a_name_may_pass_from_one_node_to_another(self, graph: Graph, rival: Graph) -> None:
        store(graph, node("n1", base_name="one"), node("n2", base_name="two"))
        answers(rival)

        def swap(tx: Transaction) -> None:
            put(tx, [node("n1", base_name="three")])
            put(tx, [node("n2", base_name="one"), node("n1", base_name="two")])

        graph.transact(swap)
        assert answers(rival) == answers(graph)
        with pytest.raises(ConstraintError):
            store(rival, node("n3", base_name="one"))


class RivalsContract:
    def test_one_wins_a_binding_and_the_others_get_its_row(self, graph: Graph, rival: Graph) -> None:
        binding = Binding("n1", "")

        def claim(number: int) -> tuple[str, bool]:
            def work(tx: Transaction) -> tuple[str, bool]:
                tx.lock(Locks(nodes=("n1",)))
                found = known_bindings(tx, binding).queues.get(binding)
                if found is not None:
                    return found.claim_id, False
                tx.put([node("n1"), queue(f"topic-{number}", "n1", claim_id=str(number))])
                return str(number), True

            return (graph, rival)[number % 2].transact(work)

        told = concurrently(RIVALS, claim)
        winners = [claim_id for claim_id, won in told if won]
        assert len(winners) == 1
        assert {claim_id for claim_id, _ in told} == set(winners)
        assert known_bindings(rival, binding).queues[binding].topic == f"topic-{winners[0]}"

    def test_rivals_for_a_topic_name_all_get_one_and_no_two_the_same(
        self, graph: Graph, rival: Graph
    ) -> None:
        """As the claim does it: look, choose, and let the constraint decide."""

        def choose(number: int) -> str:
            def work(tx: Transaction) -> str:
                n = 1
                while tx.taken_names([fold(f"B.x_v{n}")]):
                    n += 1
                topic = f"B.x_v{n}" if number % 3 else f"b_x_v{n}"
                tx.lock(Locks(nodes=(f"n{number}",), names=(fold(topic),)))
                if tx.taken_names([fold(topic)]):
                    raise ConstraintError(fold(topic))
                tx.put([queue(topic, f"n{number}")])
                return topic

            return (graph, rival)[number % 2].transact(work)

        assert sorted(fold(topic) for topic in concurrently(RIVALS, choose)) == [
            f"b_x_v{n}" for n in range(1, RIVALS + 1)
        ]

    def test_rivals_for_a_base_name_all_get_one_and_no_two_the_same(self, graph: Graph, rival: Graph) -> None:
        def choose(number: int) -> str:
            def work(tx: Transaction) -> str:
                n = 1
                while tx.base_names_taken([f"one_{n}"]):
                    n += 1
                put(tx, [node(f"n{number}", base_name=f"one_{n}")])
                return f"one_{n}"

            return (graph, rival)[number % 2].transact(work)

        assert sorted(concurrently(RIVALS, choose)) == [f"one_{n}" for n in range(1, RIVALS + 1)]

    def test_no_write_to_a_lineage_is_lost(self, graph: Graph, rival: Graph) -> None:
        key = LineageKey("l1", "")

        def work(tx: Transaction) -> None:
            tx.lock(Locks(lineages=(key,)))
            found = tx.known(LookupKeys(lineages=frozenset({key}))).lineages.get(key)
            tx.put([LineageRow(key, found.last_at_ms + 1 if found else 1)])

        concurrently(RIVALS, lambda n: [(graph, rival)[n % 2].transact(work) for _ in range(ROUNDS)])
        known = graph.known(LookupKeys(lineages=frozenset({key})))
        assert known.lineages[key].last_at_ms == RIVALS * ROUNDS

    def test_every_revision_of_a_tag_set_is_used_once(self, graph: Graph, rival: Graph) -> None:
        key = TagSetKey(("t1",), 60)

        def work(tx: Transaction) -> int:
            tx.lock(Locks(tag_sets=(key,)))
            revision = tx.tag_revisions([key])[key] + 1
            tx.put([TagSetRow(key, revision)])
            return revision

        got = concurrently(RIVALS, lambda n: [(graph, rival)[n % 2].transact(work) for _ in range(ROUNDS)])
        assert sorted(chain.from_iterable(got)) == list(range(1, RIVALS * ROUNDS + 1))

    def test_every_epoch_is_raised_once(self, graph: Graph, rival: Graph) -> None:
        def raised(number: int) -> list[int]:
            return [(graph, rival)[number % 2].transact(lambda tx: tx.raise_epoch()) for _ in range(ROUNDS)]

        got = concurrently(RIVALS, raised)
        assert sorted(chain.from_iterable(got)) == list(range(1, RIVALS * ROUNDS + 1))
        assert graph.epoch() == rival.epoch() == RIVALS * ROUNDS

    def test_publishers_do_not_pass_each_other(self, graph: Graph, rival: Graph) -> None:
        store(graph, *(event("x", n, n) for n in range(1, 31)))
        sent: list[int] = []

        def publish(tx: Transaction) -> int:
            tx.lock(Locks(publisher=True))
            waiting = tx.waiting_events(3)
            sent.extend(row.revision for row in waiting)
            tx.delete(waiting)
            return len(waiting)

        def all_of_it(number: int) -> None:
            while (graph, rival)[number % 2].transact(publish):
                pass

        concurrently(RIVALS, all_of_it)
        assert sent == list(range(1, 31))


IN_ORDER = (
    Locks(lineages=(LineageKey("a", ""), LineageKey("b", ""))),
    Locks(nodes=("n1", "n2")),
    Locks(names=("a", "b")),
    Locks(counters=("a", "b")),
    Locks(tags=(("t1", 60), ("t2", 60))),
    Locks(tag_sets=(TagSetKey(("t1",), 60), TagSetKey(("t2",), 60))),
    Locks(epoch=True),
    Locks(publisher=True),
)


def lock_all(tx: Transaction, *calls: Locks) -> None:
    for locks in calls:
        tx.lock(locks)


class LockOrderContract:
    """An order that would be a deadlock between rivals is an error in every single transaction."""

    def test_every_kind_in_order(self, graph: Graph) -> None:
        graph.transact(lambda tx: lock_all(tx, *IN_ORDER))

    def test_all_kinds_at_once(self, graph: Graph) -> None:
        everything = Locks(
            lineages=IN_ORDER[0].lineages,
            nodes=IN_ORDER[1].nodes,
            names=IN_ORDER[2].names,
            counters=IN_ORDER[3].counters,
            tags=IN_ORDER[4].tags,
            tag_sets=IN_ORDER[5].tag_sets,
            epoch=True,
            publisher=True,
        )
        graph.transact(lambda tx: tx.lock(everything))

    @pytest.mark.parametrize("later", range(1, len(IN_ORDER)))
    def test_an_earlier_kind_after_a_later_one(self, graph: Graph, later: int) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(IN_ORDER[later])
            tx.lock(IN_ORDER[later - 1])

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)

    def test_a_smaller_key_of_the_same_kind(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(Locks(names=("b",)))
            tx.lock(Locks(names=("c",)))
            tx.lock(Locks(names=("a",)))

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)

    def test_keys_of_one_call_are_sorted(self, graph: Graph) -> None:
        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(lambda tx: tx.lock(Locks(names=("b", "a"))))

    def test_what_is_held_may_be_locked_again(self, graph: Graph) -> None:
        graph.transact(lambda tx: lock_all(tx, *IN_ORDER, *IN_ORDER, Locks()))

    def test_raising_the_epoch_locks_it(self, graph: Graph) -> None:
        def work(tx: Transaction) -> None:
            tx.raise_epoch()
            tx.lock(Locks(tag_sets=(TagSetKey(("t1",), 60),)))

        with pytest.raises(AssertionError, match="lock order"):
            graph.transact(work)
        assert graph.epoch() == 0

    def test_locks_end_with_the_transaction(self, graph: Graph, rival: Graph) -> None:
        for each in (graph, rival, graph):
            each.transact(lambda tx: lock_all(tx, *IN_ORDER))

    @pytest.mark.parametrize(
        "row",
        [
            lineage_row("l1"),
            sentinel("c1", "l1"),
            node("n1"),
            queue("a", "n1"),
            TagSetRow(TagSetKey(("t1",), 60), 1),
            CounterRow("c", 1),
        ],
        ids=["lineage", "sentinel", "node", "queue", "tag_set", "counter"],
    )
    @pytest.mark.parametrize("how", ["put", "delete"])
    def test_what_rivals_decide_from_is_written_under_its_lock(
        self, graph: Graph, row: Row, how: str
    ) -> None:
        def work(tx: Transaction) -> None:
            tx.lock(
                Locks(
                    lineages=(LineageKey("l1", "w"), LineageKey("l2", "")),
                    nodes=("n2",),
                    counters=("other",),
                    tag_sets=(TagSetKey(("t1",), 5),),
                )
            )
            getattr(tx, how)([row])

        with pytest.raises(AssertionError, match="without the lock"):
            graph.transact(work)
