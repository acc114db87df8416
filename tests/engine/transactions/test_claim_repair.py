"""Claims whose topics could not be created: other names, or the refusal as the answer (docs/semantics.md 4, 6)."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.model.graph_port import LookupKeys
from dagmanager.engine.model.outcome import Outcome, decode
from dagmanager.engine.model.rows import NodeRow, QueueRow, QueueState
from dagmanager.engine.model.version_rows import HolderRow, SentinelRow, SentinelState
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.claim_repair import give_up, refuse, rename, respecify
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.errors import ClaimLostError, ErrorCode, Rejection
from tests.engine.builders import POLICY, Stores, engine, node, options, submission

PRICE, MEAN = node("price"), node("mean")
ONE = submission([PRICE, MEAN], lineage="beta")


def claimed() -> tuple[Stores, str, str]:
    """Stores with an unfinished claim of `first`, and its two topics in the order of the DAG."""
    stores = Stores()
    found = claim_in(stores.graph, ONE, options("first"))
    assert isinstance(found, Claimed)
    one, two = (topic for _, topic in found.outcome.items)
    return stores, one, two


def renamed(stores: Stores, *foreign: str, owner: str = "first", begun: bool = False) -> tuple[QueueRow, ...]:
    return stores.graph.transact(lambda tx: rename(tx, claim_id(ONE), frozenset(foreign), owner, begun=begun))


def answer(stores: Stores) -> Outcome | Rejection:
    row = stores.graph.known(LookupKeys(outcomes=frozenset({claim_id(ONE)}))).outcomes[claim_id(ONE)]
    return decode(row.body)


def refused(stores: Stores, topics: dict[str, str], owner: str = "first") -> Rejection:
    return stores.graph.transact(lambda tx: refuse(tx, claim_id(ONE), topics, owner))


class TestRename:
    def test_a_foreign_name_stays_as_a_tombstone_and_the_answer_has_the_new_one(self) -> None:
        stores, one, two = claimed()
        names = {row.topic for row in renamed(stores, one)}
        assert names == {f"{one}_v2", two}
        old = stores.queues()[one]
        assert (old.state, old.claim_id, old.owner) == (QueueState.FAILED, "", "")
        found = answer(stores)
        assert isinstance(found, Outcome)
        assert [topic for _, topic in found.items] == [f"{one}_v2", two]

    def test_names_that_were_ever_used_are_skipped(self) -> None:
        stores, one, _ = claimed()
        renamed(stores, one)
        assert f"{one}_v3" in {row.topic for row in renamed(stores, f"{one}_v2")}
        assert {stores.queues()[f"{one}{end}"].incarnation for end in ("", "_v2", "_v3")} == {1, 2, 3}

    def test_a_queue_that_was_begun_meanwhile_keeps_its_name(self) -> None:
        stores, one, two = claimed()
        row = stores.queues()[one]
        stores.put(msgspec.structs.replace(row, begun=True))
        assert {each.topic for each in renamed(stores, one, begun=False)} == {one, two}
        assert {each.topic for each in renamed(stores, one, begun=True)} == {f"{one}_v2", two}

    def test_only_the_owner_renames(self) -> None:
        stores, one, _ = claimed()
        with pytest.raises(ClaimLostError):
            renamed(stores, one, owner="second")
        assert one in stores.queues()
        assert f"{one}_v2" not in stores.queues()


class TestRefuse:
    def test_the_refusal_is_the_answer_and_names_each_topic_with_its_reason(self) -> None:
        stores, one, two = claimed()
        found = refused(stores, {one: "no", two: "neither"})
        assert (found.code, found.got) == (ErrorCode.TOPIC_REFUSED, min(one, two))
        details = {each["topic"]: each["reason"] for each in found.details}
        assert details == {one: "no", two: "neither"}
        assert answer(stores) == found

    def test_the_version_is_released_with_its_holder_and_other_queues_stay(self) -> None:
        stores, one, two = claimed()
        refused(stores, {one: "no"})
        [sentinel] = stores.rows(SentinelRow)
        assert (sentinel.state, sentinel.weight, sentinel.claim_id) == (SentinelState.RELEASED, 0.0, "")
        assert stores.rows(HolderRow) == []
        states = {topic: row.state for topic, row in stores.queues().items()}
        assert states == {one: QueueState.FAILED, two: QueueState.PROVISIONING}
        assert stores.queues()[two].unreferenced_ms == stores.clock.now_ms

    @pytest.mark.parametrize("has_another", [False, True])
    def test_a_node_chooses_its_base_name_again_unless_it_has_another_queue(self, has_another: bool) -> None:
        stores = Stores()
        if has_another:
            engine(stores).submit([submission([PRICE, MEAN], lineage="gamma", world="w2", strategy="s2")])
        assert isinstance(claim_in(stores.graph, ONE, options("first")), Claimed)
        [one] = [
            row.topic
            for row in stores.rows(QueueRow)
            if row.binding.node_id == PRICE["node_id"] and row.state is QueueState.PROVISIONING
        ]
        refused(stores, {one: "no"})
        assert {row.node_id: row.base_refused for row in stores.rows(NodeRow)} == {
            PRICE["node_id"]: not has_another,
            MEAN["node_id"]: False,
        }

    def test_only_the_owner_refuses(self) -> None:
        stores, one, _ = claimed()
        before = stores.all_rows()
        with pytest.raises(ClaimLostError):
            refused(stores, {one: "no"}, owner="second")
        assert stores.all_rows() == before


class TestRespecify:
    def test_only_specs_that_no_broker_could_create_are_changed(self) -> None:
        stores, one, two = claimed()
        row = stores.queues()[one]
        stores.put(msgspec.structs.replace(row, spec=msgspec.structs.replace(row.spec, partitions=100_001)))
        claims = {claim_id(ONE): (stores.queues()[one], stores.queues()[two])}
        for _ in range(2):  # idempotent
            found = stores.graph.transact(
                lambda tx: respecify(tx, claims, "first", POLICY, options().brokers)
            )
            assert {each.topic: each.spec for each in found[claim_id(ONE)]} == {
                one: row.spec,
                two: stores.queues()[two].spec,
            }
        assert stores.queues()[one].spec == row.spec

    def test_claims_of_another_owner_are_left_out(self) -> None:
        stores, one, _ = claimed()
        before = stores.all_rows()
        claims = {claim_id(ONE): (stores.queues()[one],)}
        found = stores.graph.transact(lambda tx: respecify(tx, claims, "second", POLICY, 1))
        assert (found, stores.all_rows()) == ({}, before)


class TestGiveUp:
    def test_a_claim_whose_joined_queues_live_is_kept(self) -> None:
        stores, _, _ = claimed()
        joiner = submission([PRICE], strategy="s2", lineage="gamma", position=1)
        assert isinstance(claim_in(stores.graph, joiner, options("first")), Claimed)
        assert stores.graph.transact(lambda tx: give_up(tx, claim_id(joiner), "first")) is None

    def test_a_claim_that_joined_a_queue_that_failed_is_refused(self) -> None:
        stores, one, two = claimed()
        joiner = submission([PRICE], strategy="s2", lineage="gamma", position=1)
        assert isinstance(claim_in(stores.graph, joiner, options("first")), Claimed)
        refused(stores, {one: "no", two: "no"})
        found = stores.graph.transact(lambda tx: give_up(tx, claim_id(joiner), "first"))
        assert isinstance(found, Rejection)
        assert found.code is ErrorCode.TOPIC_REFUSED
        assert found.details[0]["reason"] == "the queue it joined is failed"

    def test_a_claim_without_a_joined_queue_is_kept(self) -> None:
        stores, _, _ = claimed()
        assert stores.graph.transact(lambda tx: give_up(tx, claim_id(ONE), "first")) is None
