"""A claim whose activation does not fit into the store's memory is refused: no retry without end (docs/semantics.md 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.effects import claim_completion
from dagmanager.engine.effects.claim_completion import Completion
from dagmanager.engine.model.graph_port import LookupKeys, Transaction
from dagmanager.engine.model.outcome import Outcome, decode
from dagmanager.engine.model.rows import QueueRow, QueueState, Row
from dagmanager.engine.model.version_rows import HolderRow, SentinelRow, SentinelState
from dagmanager.engine.stages import Answer, InProgress
from dagmanager.engine.transactions import claim_too_large
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.errors import ErrorCode, Rejection, StoreMemoryError
from dagmanager.graph.embedded.memory import MemoryGraph
from tests.engine.builders import Stores, engine, node, options, submission

NODES = 30
BIG = submission([node(f"n{number}") for number in range(NODES)])
SMALL = submission([node("price")], strategy="small", lineage="small", position=1)


class SmallGraph(MemoryGraph):
    """A store without memory for a transaction that activates more than `most` queues or a version of these lineages, or
    that begins more than twice as many."""

    most = 20
    versions: frozenset[str] = frozenset()

    def transact(self, work: Callable[[Transaction], Any]) -> Any:
        def within_memory(tx: Transaction) -> Any:
            put, activated, begun = tx.put, 0, 0

            def counted(rows: Sequence[Row]) -> None:
                nonlocal activated, begun
                queues = [r for r in rows if isinstance(r, QueueRow)]
                activated += sum(r.state is QueueState.ACTIVE for r in queues)
                begun += sum(r.state is QueueState.PROVISIONING and r.begun for r in queues)
                active = (r for r in rows if isinstance(r, SentinelRow) and r.state is SentinelState.ACTIVE)
                if max(activated, begun / 2) > self.most or any(
                    r.key.lineage in self.versions for r in active
                ):
                    raise StoreMemoryError("the allocation would use more than the limit")
                put(rows)

            tx.put = counted  # type: ignore[method-assign]  # the store's limit, not the engine's code
            return work(tx)

        return super().transact(within_memory)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setattr(claim_too_large, "PART_NODES", 7)
    return Stores(open_graph=SmallGraph)


def result(answer: Answer | InProgress) -> Outcome | Rejection:
    assert isinstance(answer, Answer)
    return answer.result


def test_it_is_refused_with_the_cause_and_the_submissions_behind_it_are_answered(stores: Stores) -> None:
    big, small = map(result, engine(stores).submit([BIG, SMALL]))
    assert isinstance(big, Rejection)
    assert (big.code, big.field, big.got) == (ErrorCode.TOO_LARGE, "/nodes", str(NODES))
    assert "no memory for activating 30 nodes" in big.message
    assert "more than the limit" in big.message
    assert isinstance(small, Outcome)


def test_a_replay_gets_the_same_answer(stores: Stores) -> None:
    (first,) = map(result, engine(stores).submit([BIG]))
    (replay,) = map(result, engine(stores, owner="two").submit([BIG]))
    assert replay == first


def test_no_version_is_left_and_every_topic_can_be_used(stores: Stores) -> None:
    engine(stores).submit([BIG])
    [version] = stores.rows(SentinelRow)
    assert (version.state, version.claim_id) == (SentinelState.RELEASED, "")
    assert stores.rows(HolderRow) == []
    queues = stores.rows(QueueRow)
    assert len(queues) == NODES
    assert {(row.state, row.claim_id) for row in queues} == {(QueueState.ACTIVE, "")}
    assert all(row.topic_id and row.unreferenced_ms is not None for row in queues)


def test_a_server_with_more_memory_reuses_them(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(stores).submit([BIG])
    monkeypatch.setattr(SmallGraph, "most", 1_000)
    again = submission([node(f"n{number}") for number in range(NODES)], position=2)
    (accepted,) = map(result, engine(stores).submit([again]))
    assert isinstance(accepted, Outcome)
    assert accepted.actions.reuse == NODES
    assert {row.unreferenced_ms for row in stores.rows(QueueRow)} == {None}


def test_the_poll_ends_it_after_a_crash_in_the_middle(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_too_large, "PART_NODES", NODES)  # the first part fails, and with it the process
    with pytest.raises(StoreMemoryError):
        engine(stores).submit([BIG])
    monkeypatch.setattr(claim_too_large, "PART_NODES", 7)
    stores.clock.sleep(100)
    assert stores.graph.overdue_claims(10) == (claim_id(BIG),)
    other = Completion(stores.graph, stores.topics, stores.log, options("two"), stores.clock.sleep)
    assert other.finish_overdue() == 1
    assert stores.graph.overdue_claims(10) == ()
    assert {row.state for row in stores.rows(QueueRow)} == {QueueState.ACTIVE}
    [row] = stores.graph.known(LookupKeys(outcomes=frozenset({claim_id(BIG)}))).outcomes.values()
    stored = decode(row.body)
    assert isinstance(stored, Rejection)
    assert stored.code is ErrorCode.TOO_LARGE


def test_a_version_that_only_waited_for_queues_of_others_is_refused_alike(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = submission([node("price")], strategy="heavy", lineage="heavy", position=2)
    claims = {
        each: claim_in(stores.graph, each, options(owner)) for each, owner in ((SMALL, "one"), (heavy, "two"))
    }
    answers = {}
    for each, owner in ((SMALL, "one"), (heavy, "two")):
        claimed = claims[each]
        assert isinstance(claimed, Claimed)
        monkeypatch.setattr(SmallGraph, "versions", frozenset({"heavy"}))
        completion = Completion(stores.graph, stores.topics, stores.log, options(owner), stores.clock.sleep)
        (answers[each],) = completion.advance([InProgress(each, claimed)])
    assert isinstance(result(answers[SMALL]), Outcome)
    refused = result(answers[heavy])
    assert isinstance(refused, Rejection)
    assert refused.code is ErrorCode.TOO_LARGE
    assert {row.key.lineage: row.state for row in stores.rows(SentinelRow)} == {
        "small": SentinelState.ACTIVE,
        "heavy": SentinelState.RELEASED,
    }
    # The other version still uses the queue.
    assert [row.unreferenced_ms for row in stores.rows(QueueRow)] == [None]


def test_claims_that_fit_one_by_one_are_finished_together(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_completion, "BEGUN_PER_TRANSACTION", 40)
    several = [
        submission([node(f"n{each}.{number}") for number in range(12)], lineage=str(each), strategy=str(each))
        for each in range(5)
    ]
    answers = engine(stores).submit(several)
    assert all(isinstance(each.result, Outcome) for each in answers)
