"""Who owns a claim, and until when (docs/semantics.md 6)."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.model.graph_port import Locks, OpenClaim
from dagmanager.engine.model.version_rows import LineageKey
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.engine.transactions.lease import locks_of, must_own, owners_of, renew, take_over
from dagmanager.errors import ClaimLostError
from tests.engine.builders import POLICY, START_MS, Stores, node, options, submission

ONE = submission([node("price")], lineage="beta", world="w1")
LEASE_MS = POLICY.lease_ms


def claimed() -> Stores:
    stores = Stores()
    assert isinstance(claim_in(stores.graph, ONE, options("first")), Claimed)
    return stores


def claim(stores: Stores) -> OpenClaim:
    return stores.graph.transact(lambda tx: tx.open_claim(claim_id(ONE)))


def taken(stores: Stores, owner: str, *, only_overdue: bool) -> bool:
    queues, sentinels = stores.graph.transact(
        lambda tx: take_over(tx, claim_id(ONE), owner, LEASE_MS, only_overdue=only_overdue)
    )
    assert bool(queues) == bool(sentinels)
    return bool(queues)


def renewed(stores: Stores, owner: str) -> None:
    stores.graph.transact(lambda tx: renew(tx, [claim_id(ONE)], owner, LEASE_MS))


def leases(stores: Stores) -> set[tuple[str, int]]:
    found = claim(stores)
    queues = {(row.owner, row.lease_until_ms) for row in found.queues}
    return queues | {(row.owner, row.lease_until_ms) for row in found.sentinels}


def test_a_lease_begins_with_the_claim() -> None:
    assert leases(claimed()) == {("first", START_MS + LEASE_MS)}


@pytest.mark.parametrize(("late_ms", "is_taken"), [(-1, False), (0, True), (1, True)])
def test_a_claim_is_taken_over_from_the_end_of_its_lease_on(late_ms: int, is_taken: bool) -> None:
    stores = claimed()
    stores.clock.now_ms += LEASE_MS + late_ms
    assert taken(stores, "second", only_overdue=True) is is_taken
    owner = "second" if is_taken else "first"
    until = stores.clock.now_ms + LEASE_MS if is_taken else START_MS + LEASE_MS
    assert leases(stores) == {(owner, until)}


def test_a_replay_takes_its_claim_over_at_any_time() -> None:
    stores = claimed()
    assert taken(stores, "second", only_overdue=False)
    assert leases(stores) == {("second", START_MS + LEASE_MS)}


def test_an_owner_may_take_its_own_claim_again() -> None:
    stores = claimed()
    stores.clock.now_ms += 1_000
    assert taken(stores, "first", only_overdue=True)
    assert leases(stores) == {("first", START_MS + 1_000 + LEASE_MS)}


def test_a_claim_that_is_unknown_or_finished_is_not_taken_over() -> None:
    assert not taken(Stores(), "second", only_overdue=False)


def test_a_renewal_extends_the_lease_of_its_owner_only() -> None:
    stores = claimed()
    stores.clock.now_ms += 4_000
    renewed(stores, "second")
    assert leases(stores) == {("first", START_MS + LEASE_MS)}
    renewed(stores, "first")
    assert leases(stores) == {("first", START_MS + 4_000 + LEASE_MS)}


def test_a_claim_that_is_half_taken_over_is_not_renewed() -> None:
    stores = claimed()
    (queue,) = claim(stores).queues
    stores.put(msgspec.structs.replace(queue, owner="second"))
    before = leases(stores)
    stores.clock.now_ms += 4_000
    renewed(stores, "first")
    assert leases(stores) == before


def test_the_locks_of_a_claim_are_its_lineages_and_nodes() -> None:
    stores = claimed()
    nodes = tuple(each.node_id for each in ONE.dag.nodes)
    assert locks_of(claim(stores)) == Locks(lineages=(LineageKey("beta", "w1.live"),), nodes=nodes)
    assert locks_of() == Locks()


def test_the_owner_is_checked_on_every_row() -> None:
    stores = claimed()
    must_own(claim_id(ONE), claim(stores), "first")
    with pytest.raises(ClaimLostError, match="belongs to first now"):
        must_own(claim_id(ONE), claim(stores), "second")
    (queue,) = claim(stores).queues
    stores.put(msgspec.structs.replace(queue, owner="second"))
    assert owners_of(claim(stores)) == {"first", "second"}
    for owner, other in (("first", "second"), ("second", "first")):
        with pytest.raises(ClaimLostError, match=f"belongs to {other} now"):
            must_own(claim_id(ONE), claim(stores), owner)


def test_no_process_owns_a_finished_claim() -> None:
    found = claim(Stores())
    assert owners_of(found) == set()
    with pytest.raises(ClaimLostError, match="is finished"):
        must_own("c", found, "first")
