"""What one submission writes, and what it does not (docs/semantics.md 2, 3-7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from chaos.ports import watched
from dagmanager.engine.model.admin_log_port import AdminAction
from dagmanager.engine.model.graph_port import Transaction
from dagmanager.engine.model.rows import ContentRow, NodeRow, OutcomeRow, QueueRow, QueueState, Row
from dagmanager.engine.model.version_rows import HolderRow, LineageRow, SentinelRow
from dagmanager.errors import ErrorCode, StoreMemoryError
from dagmanager.graph.embedded.memory import MemoryGraph
from tests.engine.builders import (
    POLICY,
    Stores,
    accepted,
    engine,
    node,
    refused,
    submission,
    submissions,
    topics_of,
)
from tests.engine.market import (
    MEAN,
    PRICE,
    kinds,
)


def test_a_new_dag_writes_nodes_queues_content_sentinel_holder_lineage_and_outcome() -> None:
    stores = Stores()
    one = submission([PRICE, MEAN])
    (answer,) = engine(stores).submit([one])

    assert accepted(answer).actions.create == 2
    assert topics_of(answer) == [
        row.topic
        for row in sorted(stores.rows(QueueRow), key=lambda r: r.binding.node_id != PRICE["node_id"])
    ]
    assert sorted(stores.topics.names()) == sorted(topics_of(answer))
    rows = kinds(stores)
    assert {name: rows[name] for name in ("NodeRow", "QueueRow", "ContentRow", "SentinelRow")} == {
        "NodeRow": 2,
        "QueueRow": 2,
        "ContentRow": 1,
        "SentinelRow": 1,
    }
    (sentinel,) = stores.rows(SentinelRow)
    assert (sentinel.state, sentinel.weight, sentinel.content) == ("active", 1.0, one.dag.content_digest)
    assert sentinel.key == ("alpha", "", "v1", 1)
    assert sentinel.sentinel_id == accepted(answer).sentinel_id == "s1-sentinel"
    assert sorted(sentinel.introduced) == sorted([PRICE["node_id"], MEAN["node_id"]])
    assert sentinel.commit_hash == one.dag.content_digest
    (holder,) = stores.rows(HolderRow)
    assert (holder.key, holder.sentinel, holder.submission_digest) == (
        ("s1", "", ""),
        sentinel.key,
        one.submission_digest,
    )
    assert [row.last_at_ms for row in stores.rows(LineageRow)] == [0], "no holder was added to it yet"
    (outcome,) = stores.rows(OutcomeRow)
    assert outcome.topics == accepted(answer).topics
    (content,) = stores.rows(ContentRow)
    assert {member.name: member.tags for member in content.members} == {
        "price": ("BTC", "spot"),
        "mean": ("BTC",),
    }


def test_an_active_queue_has_no_owner_and_has_the_broker_s_id() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)
    assert (queue.state, queue.claim_id, queue.owner) == ("active", "", "")
    assert queue.topic_id == stores.topics.describe([queue.topic])[queue.topic].topic_id
    assert queue.unreferenced_ms is None


def test_every_creation_is_logged_before_it_counts() -> None:
    stores = Stores()
    before_activation: list[tuple[list[str], list[str], set[QueueState]]] = []

    def passing(point: str) -> None:
        if point == "activate":
            logged = sorted(entry.topic for entry in stores.log.entries if entry.action is AdminAction.CREATE)
            states = {row.state for row in stores.rows(QueueRow)}
            before_activation.append((logged, sorted(stores.topics.names()), states))

    (answer,) = watched(engine(stores), passing).submit([submission([PRICE, MEAN])])
    topics = sorted(topics_of(answer))
    assert before_activation == [(topics, topics, {QueueState.PROVISIONING})]


def test_parameters_and_dependencies_are_stored_with_the_node() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE, node("p", params={"b": 2, "a": 1}, inputs=[PRICE])])])
    row = next(row for row in stores.rows(NodeRow) if row.name == "p")
    assert row.params_canon == '{"a":1,"b":2}'
    assert row.dependencies == (PRICE["node_id"],)


def test_a_new_strategy_id_with_the_same_dag_costs_a_holder() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    before = stores.all_rows()
    (answer,) = works.submit([submission([PRICE, MEAN], strategy="s2", position=1)])
    assert accepted(answer).actions.reuse == 2
    new = [row for row in stores.all_rows() if row not in before]
    assert [type(row) for row in new] == [HolderRow, LineageRow, OutcomeRow]
    assert isinstance(new[2], OutcomeRow)
    assert new[2].body == b""  # no answer is stored, only that there was one


def test_a_dry_run_is_answered_and_never_written() -> None:
    stores = Stores()
    works = engine(stores)
    (answer,) = works.submit([submission([PRICE], strategy="dryrun")])
    assert accepted(answer).dry_run
    assert accepted(answer).actions.create == 1
    assert stores.all_rows() == ()
    (real,) = works.submit([submission([PRICE], position=1)])
    assert topics_of(real) == topics_of(answer)


def test_one_outcome_per_world() -> None:
    stores = Stores()
    answers = engine(stores).submit(submissions([PRICE], worlds=["w1", "w2"]))
    assert [topics_of(each)[0].split(".")[:2] for each in answers] == [["w1", "live"], ["w2", "live"]]
    base = {topics_of(each)[0].split(".", 2)[2] for each in answers}
    assert len(base) == 1
    assert [accepted(each).actions.create for each in answers] == [1, 1]
    assert kinds(stores)["NodeRow"] == 1
    assert len(stores.outcomes()) == 2
    assert {row.key.namespace for row in stores.rows(SentinelRow)} == {"w1.live", "w2.live"}


def test_strict_dependencies_refuse_what_the_graph_does_not_know_either() -> None:
    stores = Stores()
    works = engine(stores, policy=msgspec.structs.replace(POLICY, strict_dependencies=True))
    (no,) = works.submit([submission([MEAN])])
    assert refused(no).code is ErrorCode.UNRESOLVED_DEPENDENCIES
    assert stores.effects() == ()
    works.submit([submission([PRICE], lineage="beta", strategy="s2", position=1)])
    (yes,) = works.submit([submission([MEAN], position=2)])
    assert accepted(yes).warnings == ()


class SmallGraph(MemoryGraph):
    """A store without memory for a transaction of many rows, as a server with a small heap."""

    def transact(self, work: Callable[[Transaction], Any]) -> Any:
        def within_memory(tx: Transaction) -> Any:
            put, rows = tx.put, 0

            def counted(more: Sequence[Row]) -> None:
                nonlocal rows
                rows += len(more)
                if rows > 20:
                    raise StoreMemoryError("the allocation would use more than the limit")
                put(more)

            tx.put = counted  # type: ignore[method-assign, assignment]  # the store's limit, not the engine's code
            return work(tx)

        return super().transact(within_memory)


def test_a_dag_that_the_store_has_no_memory_for_is_refused_and_blocks_nothing() -> None:
    stores = Stores(open_graph=SmallGraph)
    works = engine(stores)
    big = submission([node(f"n{number}") for number in range(30)])
    answers = works.submit([big, submission([PRICE], strategy="small", lineage="small", position=1)])
    assert refused(answers[0]).code is ErrorCode.TOO_LARGE
    assert refused(answers[0]).got == "30"
    assert accepted(answers[1]).actions.create == 1
    (replay,) = engine(stores, owner="two").submit([big])
    assert refused(replay) == refused(answers[0])
