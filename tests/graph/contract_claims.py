"""What every Graph answers about claims, pages of queues and the outbox.

Runs unchanged on a server, like `contract`.
"""

from __future__ import annotations

from dagmanager.engine.model.graph_port import Graph, OpenClaim
from dagmanager.engine.model.rows import OutboxState, QueueState
from dagmanager.engine.model.version_rows import LineageKey, SentinelKey, SentinelState
from tests.graph.builders import (
    event,
    holder,
    now_of,
    queue,
    remove,
    sentinel,
    store,
)


class ClaimsContract:
    def test_what_is_provisioning_and_pending_under_a_claim(self, graph: Graph) -> None:
        mine = [queue(topic, topic, state=QueueState.PROVISIONING, claim_id="k1") for topic in ("b", "c")]
        pending = [
            sentinel("c1", lineage, state=SentinelState.PENDING, claim_id="k1") for lineage in ("l1", "l2")
        ]
        store(
            graph,
            *mine,
            *pending,
            queue("d", "n3", claim_id="k1"),
            queue("e", "n4", state=QueueState.PROVISIONING, claim_id="k2"),
            sentinel("c1", "l3", claim_id="k1"),
            older := sentinel("c2", "l2", version="v0"),
        )
        first, second = pending
        versions = {LineageKey("l1", ""): (first,), LineageKey("l2", ""): (older, second)}
        assert graph.transact(lambda tx: tx.open_claim("k1")) == OpenClaim(
            tuple(mine), tuple(pending), versions
        )
        assert graph.transact(lambda tx: tx.open_claim("k3")) == OpenClaim()

    def test_an_activated_claim_is_over(self, graph: Graph) -> None:
        store(graph, queue("b", state=QueueState.PROVISIONING, claim_id="k1", lease_until_ms=1))
        store(graph, queue("b", state=QueueState.ACTIVE))
        assert graph.transact(lambda tx: tx.open_claim("k1")) == OpenClaim()
        assert graph.overdue_claims(10) == ()

    def test_overdue_claims_oldest_first(self, graph: Graph) -> None:
        now_ms = now_of(graph)
        leases = {"late": 500, "later": 100, "latest": 10, "alive": -60_000}
        store(
            graph,
            *(
                queue(
                    f"t-{name}",
                    name,
                    state=QueueState.PROVISIONING,
                    claim_id=name,
                    lease_until_ms=now_ms - ago,
                )
                for name, ago in leases.items()
            ),
            sentinel("c1", state=SentinelState.PENDING, claim_id="versions", lease_until_ms=now_ms - 200),
        )
        assert graph.overdue_claims(10) == ("late", "versions", "later", "latest")
        assert graph.overdue_claims(2) == ("late", "versions")

    def test_a_claim_is_overdue_when_its_last_lease_is(self, graph: Graph) -> None:
        now_ms = now_of(graph)

        def provisioning(topic: str, until_ms: int) -> None:
            store(
                graph,
                queue(topic, topic, state=QueueState.PROVISIONING, claim_id="k1", lease_until_ms=until_ms),
            )

        provisioning("b", now_ms - 500)
        provisioning("c", now_ms + 60_000)
        assert graph.overdue_claims(10) == ()
        provisioning("c", now_ms - 1)
        assert graph.overdue_claims(10) == ("k1",)

    def test_a_renewed_claim_is_not_overdue(self, graph: Graph, rival: Graph) -> None:
        now_ms = now_of(graph)
        store(graph, queue("b", state=QueueState.PROVISIONING, claim_id="k1", lease_until_ms=now_ms - 1))
        assert rival.overdue_claims(10) == ("k1",)
        store(graph, queue("b", state=QueueState.PROVISIONING, claim_id="k1", lease_until_ms=now_ms + 60_000))
        assert rival.overdue_claims(10) == ()

    def test_a_page_of_queues_by_topic_in_every_state(self, graph: Graph, rival: Graph) -> None:
        rows = [queue(f"t{n}", f"n{n}", state=state) for n, state in enumerate(QueueState)]
        shout, safe = queue("T9", "n"), queue("t_safe", "n", safe="s1")
        store(graph, *reversed(rows), safe, shout)
        everything = (shout, *rows, safe)
        for each in (graph, rival):
            assert each.queues_after("", 100) == everything
            assert each.queues_after("T9", 2) == everything[1:3]
            assert each.queues_after("t3", 2) == tuple(rows[4:6])
            assert each.queues_after("t3.", 1) == (rows[4],)
            assert (each.queues_after("t_safe", 5), each.queues_after("", 0)) == ((), ())

    def test_the_holders_of_a_sentinel(self, graph: Graph) -> None:
        held, other = SentinelKey("l1", "", "v1", 1), SentinelKey("l1", "", "v1", 2)
        store(graph, holder("s2", held), holder("s1", held), holder("s3", other))
        assert set(graph.transact(lambda tx: tx.holders_of(held))) == {holder("s1", held), holder("s2", held)}
        store(graph, holder("s1", other))
        remove(graph, holder("s2", held))
        assert graph.transact(lambda tx: tx.holders_of(held)) == ()


class OutboxContract:
    def test_waiting_events_in_order(self, graph: Graph, rival: Graph) -> None:
        rows = [
            event("x", 1, 10),
            event("a", 2, 20),
            event("x", 2, 20),
            event("x", 10, 20),
            event("a", 3, 30),
        ]
        store(
            graph,
            *reversed(rows),
            event("x", 3, 5, OutboxState.PUBLISHED),
            event("x", 4, 5, OutboxState.OUTDATED),
        )
        for each in (graph, rival):
            assert each.waiting_events(10) == tuple(rows)
            assert each.waiting_events(2) == tuple(rows[:2])
            assert each.waiting_events(0) == ()
            assert each.transact(lambda tx: tx.waiting_events(3)) == tuple(rows[:3])

    def test_a_published_event_waits_no_more(self, graph: Graph) -> None:
        store(graph, event("x", 1, 10), event("x", 2, 10))
        store(graph, event("x", 1, 10, OutboxState.PUBLISHED))
        assert graph.waiting_events(10) == (event("x", 2, 10),)
        remove(graph, event("x", 2, 10))
        assert graph.waiting_events(10) == ()
