"""What every Graph promises about its questions: which rows, which not, in which order.

Runs unchanged on a server, like `contract`.
"""

from __future__ import annotations

import itertools

import msgspec
import pytest

from dagmanager.engine.model.graph_port import Graph, LookupKeys, NodeUsage, Transaction
from dagmanager.engine.model.rows import GONE, Binding, CounterRow, QueueState, Row, TagSetKey, TagSetRow
from dagmanager.engine.model.version_rows import (
    REFERENCING,
    HolderKey,
    LineageKey,
    SentinelKey,
    SentinelState,
)
from tests.graph.builders import (
    content,
    holder,
    known_bindings,
    lineage_row,
    locks_for,
    node,
    node_usage,
    outcome,
    queue,
    referenced,
    remove,
    sentinel,
    store,
    tags_in_force,
)


def written_then_node_usage(tx: Transaction, rows: list[Row], tags: tuple[str, ...]) -> dict[str, NodeUsage]:
    tx.lock(locks_for(rows, ["n1", "n2", "n4"]))
    tx.put(rows)
    return node_usage(tx, ["n1", "n2", "n4"], tags)


class KnownContract:
    def test_an_empty_graph_knows_nothing(self, graph: Graph) -> None:
        keys = LookupKeys(
            frozenset({Binding("n1", "")}),
            frozenset({LineageKey("l1", "")}),
            frozenset({HolderKey("s1", "", "w")}),
            frozenset({"k1"}),
        )
        for known in (graph.known(keys), graph.transact(lambda tx: tx.known(keys))):
            found = [known.nodes, known.queues, known.lineages, known.sentinels, known.holders]
            assert not any([*found, known.outcomes, known.outcome_queues])
            assert (known.epoch, known.safe_topics) == (0, 0)

    def test_only_what_was_asked_for(self, graph: Graph) -> None:
        store(graph, node("n1"), node("n2"), queue("b", "n1"), queue("c", "n2"), lineage_row("l1"))
        known = known_bindings(graph, Binding("n1", ""))
        assert (set(known.nodes), set(known.queues), set(known.lineages)) == (
            {"n1"},
            {Binding("n1", "")},
            set(),
        )

    def test_a_node_without_a_queue_there_is_known_as_node(self, graph: Graph) -> None:
        store(graph, node("n1"), queue("b", "n1", "w"))
        known = known_bindings(graph, Binding("n1", ""), Binding("n1", "", "s1"))
        assert set(known.nodes) == {"n1"}
        assert not known.queues

    def test_a_node_may_be_asked_for_without_a_queue(self, graph: Graph) -> None:
        store(graph, node("n1"), queue("a", "n1"))
        found = graph.known(LookupKeys(nodes=frozenset({"n1", "n2"})))
        assert (set(found.nodes), dict(found.queues)) == ({"n1"}, {})

    def test_namespaces_and_safe_copies_are_different_bindings(self, graph: Graph) -> None:
        rows = [queue("b", "n1"), queue("c", "n1", "w"), queue("d", "n1", "w", safe="s1")]
        store(graph, *rows)
        known = known_bindings(graph, *(row.binding for row in rows))
        assert {row.topic for row in known.queues.values()} == {"b", "c", "d"}
        assert all(row.binding == binding for binding, row in known.queues.items())

    def test_the_highest_incarnation_is_current_whatever_its_state(self, graph: Graph) -> None:
        store(
            graph, queue("b_v2", incarnation=2, state=QueueState.DROPPED), queue("b", state=QueueState.ACTIVE)
        )
        assert known_bindings(graph, Binding("n1", "")).queues[Binding("n1", "")].topic == "b_v2"
        store(graph, queue("b_v10", incarnation=10, state=QueueState.PROVISIONING))
        assert known_bindings(graph, Binding("n1", "")).queues[Binding("n1", "")].topic == "b_v10"

    def test_all_sentinels_of_a_lineage_by_version_and_revision(self, graph: Graph) -> None:
        rows = [
            sentinel(f"c{n}", "l1", version=version, revision=revision, state=state)
            for n, (version, revision, state) in enumerate(
                itertools.product(("v2", "v1"), (10, 2), (SentinelState.ARCHIVED,))
            )
        ]
        store(graph, *rows, sentinel("c1", "l2"), sentinel("c1", "l1", "w"))
        key = LineageKey("l1", "")
        found = graph.known(LookupKeys(lineages=frozenset({key}))).sentinels[key]
        assert [(row.key.version, row.key.revision) for row in found] == [
            ("v1", 2),
            ("v1", 10),
            ("v2", 2),
            ("v2", 10),
        ]

    def test_a_lineage_of_another_namespace_is_another_one(self, graph: Graph) -> None:
        store(graph, lineage_row("l1", "w", 7))
        keys = frozenset({LineageKey("l1", ""), LineageKey("l1", "w")})
        assert graph.known(LookupKeys(lineages=keys)).lineages == {
            LineageKey("l1", "w"): lineage_row("l1", "w", 7)
        }

    def test_holders(self, graph: Graph) -> None:
        row = holder("s1", SentinelKey("l1", "", "v1", 1))
        store(graph, row)
        keys = frozenset({row.key, HolderKey("s2", "", "w"), HolderKey("s1", "w", "w")})
        assert graph.known(LookupKeys(holders=keys)).holders == {row.key: row}

    def test_outcomes_come_with_the_queues_they_name(self, graph: Graph) -> None:
        rows = [queue("b", "n1", state=QueueState.DROPPED), queue("b_v2", "n1", incarnation=2)]
        store(graph, *rows, outcome("k1", "b", "b_v2", "unknown"), outcome("k2"), outcome("k3", "b"))
        known = graph.known(LookupKeys(outcomes=frozenset({"k1", "k2", "k4"})))
        assert set(known.outcomes) == {"k1", "k2"}
        assert known.outcomes["k1"] == outcome("k1", "b", "b_v2", "unknown")
        assert known.outcome_queues == {row.topic: row for row in rows}

    @pytest.mark.parametrize("state", QueueState)
    def test_safe_topics_that_live_are_counted(self, graph: Graph, state: QueueState) -> None:
        store(graph, queue("b", safe="s1", state=state), queue("c", "n2", safe="s2"), queue("d", "n3"))
        asked = LookupKeys(bindings=frozenset({Binding("n9", "", "s9")}))
        assert graph.known(asked).safe_topics == (1 if state in GONE else 2)
        assert graph.known(LookupKeys(bindings=frozenset({Binding("n9", "")}))).safe_topics == 0

    def test_every_field_of_every_row_survives(self, graph: Graph, rival: Graph) -> None:
        from tests.graph.full_rows import FULL  # long, and of use here alone

        store(graph, *FULL)
        known = rival.known(
            LookupKeys(
                bindings=frozenset({Binding("n1", "w", "s")}),
                lineages=frozenset({LineageKey("l1", "w")}),
                holders=frozenset({HolderKey("s1", "w", "w1")}),
                outcomes=frozenset({"k1"}),
            )
        )
        found = [
            *known.nodes.values(),
            *known.queues.values(),
            *known.lineages.values(),
            *(row for rows in known.sentinels.values() for row in rows),
            *known.holders.values(),
            *known.outcomes.values(),
            *rival.waiting_events(10),
            rival.transact(lambda tx: tx.contents(["c1"]).get("c1")),
        ]
        assert sorted(map(repr, found)) == sorted(map(repr, FULL))

    def test_nodes_and_topics_by_key(self, graph: Graph) -> None:
        store(graph, node("n1"), queue("b", state=QueueState.FAILED))
        assert graph.transact(lambda tx: dict(tx.nodes(["n1", "n2"]))) == {"n1": node("n1")}
        found = graph.transact(lambda tx: dict(tx.queues_by_topic(["b", "B", "c"])))
        assert found == {"b": queue("b", state=QueueState.FAILED)}

    def test_current_shared_queues_of_nodes_in_every_namespace(self, graph: Graph) -> None:
        store(
            graph,
            node("n1"),
            node("n2"),
            node("n3"),
            queue("b", "n1", state=QueueState.DROPPED),
            queue("b_v2", "n1", incarnation=2),
            queue("w.b", "n1", "w", state=QueueState.CONDEMNED),
            queue("s", "n1", safe="s1"),
            queue("c", "n2"),
            queue("d", "n3"),
        )
        found = graph.transact(lambda tx: node_usage(tx, ["n2", "n1", "n4"]))
        topics = {each: [row.topic for row in place.queues] for each, place in found.items()}
        assert topics == {"n1": ["b_v2", "w.b"], "n2": ["c"]}
        assert found["n1"].node == node("n1")

    @pytest.mark.parametrize("tags", [(), ("t1",)])
    def test_queues_of_nodes_as_this_transaction_has_just_put_them(
        self, graph: Graph, tags: tuple[str, ...]
    ) -> None:
        """Whether or not the store sends what was put before it answers."""
        store(graph, node("n1"), queue("b", "n1"), queue("b_v2", "n1", incarnation=2))
        written: list[Row] = [
            queue("b", "n1", state=QueueState.DROPPED),
            queue("b_v2", "n1", incarnation=2, state=QueueState.CONDEMNED),
            queue("b_v3", "n1", incarnation=3),
            queue("w.b", "n1", "w"),
            queue("s", "n1", safe="s1"),
            queue("d", "n3"),
        ]
        found = graph.transact(lambda tx: written_then_node_usage(tx, written, tags))
        expected = (queue("b_v3", "n1", incarnation=3), queue("w.b", "n1", "w"))
        assert found == {"n1": NodeUsage(node("n1"), frozenset(), expected)}
        assert graph.transact(lambda tx: node_usage(tx, ["n1", "n2", "n4"], tags)) == found

    @pytest.mark.parametrize("tags", [(), ("t1",)])
    def test_nodes_as_this_transaction_has_just_put_them(self, graph: Graph, tags: tuple[str, ...]) -> None:
        store(graph, node("n1"), queue("b", "n1"), queue("c", "n2"))
        changed = msgspec.structs.replace(node("n1"), tags=("t1",))
        written: list[Row] = [changed, node("n2"), node("n3"), queue("w.b", "n1", "w")]
        found = graph.transact(lambda tx: written_then_node_usage(tx, written, tags))
        assert found == {
            "n1": NodeUsage(changed, frozenset(), (queue("b", "n1"), queue("w.b", "n1", "w"))),
            "n2": NodeUsage(node("n2"), frozenset(), (queue("c", "n2"),)),
        }
        assert graph.transact(lambda tx: node_usage(tx, ["n1", "n2", "n4"], tags)) == found

    def test_counters_and_revisions_start_at_zero(self, graph: Graph) -> None:
        key = TagSetKey(("t1", "t2"), 60)
        assert graph.transact(lambda tx: (tx.counters(["x"])["x"], tx.tag_revisions([key])[key])) == (0, 0)
        store(graph, CounterRow("x", 4), TagSetRow(key, 5))
        assert graph.transact(lambda tx: (tx.counters(["x"])["x"], tx.tag_revisions([key])[key])) == (4, 5)
        others = (TagSetKey(("t1",), 60), TagSetKey(("t1", "t2"), 0))
        assert graph.transact(lambda tx: tx.tag_revisions(others)) == dict.fromkeys(others, 0)

    def test_the_epoch(self, graph: Graph, rival: Graph) -> None:
        assert graph.transact(
            lambda tx: (tx.raise_epoch(), tx.raise_epoch(), tx.counters(["epoch"])["epoch"])
        ) == (
            1,
            2,
            2,
        )
        assert graph.epoch() == rival.epoch() == rival.known(LookupKeys()).epoch == 2


class ReferencesContract:
    @pytest.mark.parametrize("state", SentinelState)
    def test_pending_active_and_parked_reference(self, graph: Graph, state: SentinelState) -> None:
        store(graph, node("n1"), content("c1", "n1"), sentinel("c1", state=state))
        expected = state in REFERENCING
        assert graph.transact(lambda tx: tx.content_referenced("c1", "")) is expected
        assert graph.transact(lambda tx: referenced(tx, "", ["n1"])) == ({"n1"} if expected else set())

    def test_a_reference_counts_in_its_namespace_only(self, graph: Graph) -> None:
        store(graph, node("n1"), content("c1", "n1"), sentinel("c1", namespace="w"))
        assert graph.transact(lambda tx: tx.content_referenced("c1", "w"))
        assert not graph.transact(lambda tx: tx.content_referenced("c1", ""))
        assert not graph.transact(lambda tx: referenced(tx, "", ["n1"]))
        assert graph.transact(lambda tx: referenced(tx, "w", ["n1"])) == {"n1"}

    def test_direct_dependencies_outside_the_content_are_referenced(self, graph: Graph) -> None:
        store(
            graph,
            node("n1", depends_on=("outside", "n2")),
            node("n2"),
            node("outside", depends_on=("far",)),
            node("far"),
            content("c1", "n1", "n2"),
            sentinel("c1"),
        )
        found = graph.transact(lambda tx: referenced(tx, "", ["n1", "n2", "outside", "far", "strange"]))
        assert found == {"n1", "n2", "outside"}

    def test_a_dependent_outside_every_content_references_nothing(self, graph: Graph) -> None:
        store(graph, node("n1", depends_on=("n2",)), node("n2"), content("c1", "n3"), sentinel("c1"))
        assert not graph.transact(lambda tx: referenced(tx, "", ["n2", "n1"]))

    def test_one_of_two_references_is_enough(self, graph: Graph) -> None:
        first, second = sentinel("c1", "l1"), sentinel("c1", "l2")
        store(
            graph, node("n1"), content("c1", "n1"), content("c2", "n1"), first, second, sentinel("c2", "l3")
        )

        def leave(lineage: str, digest: str) -> set[str]:
            store(graph, sentinel(digest, lineage, state=SentinelState.SUPERSEDED))
            return set(graph.transact(lambda tx: referenced(tx, "", ["n1"])))

        assert leave("l1", "c1") == {"n1"}
        assert leave("l2", "c1") == {"n1"}
        assert not graph.transact(lambda tx: tx.content_referenced("c1", ""))
        assert leave("l3", "c2") == set()
        store(graph, first)
        assert graph.transact(lambda tx: referenced(tx, "", ["n1"])) == {"n1"}

    def test_the_order_in_which_rows_come_does_not_matter(self, graph: Graph) -> None:
        rows: list[Row] = [
            node("n1", depends_on=("n2",)),
            content("c1", ("n1", ("t1",))),
            sentinel("c1"),
        ]
        for order in itertools.permutations(rows):
            store(graph, *order)
            assert graph.transact(lambda tx: referenced(tx, "", ["n1", "n2"])) == {"n1", "n2"}
            assert graph.transact(lambda tx: tags_in_force(tx, ["n1"])) == {"n1": ("t1",)}
            remove(graph, *order)
            assert graph.transact(lambda tx: referenced(tx, "", ["n1", "n2"])) == set()
            assert not graph.transact(lambda tx: tags_in_force(tx, ["n1"])).get("n1")

    def test_a_content_that_comes_after_its_sentinels_is_counted_once_for_each(self, graph: Graph) -> None:
        store(graph, node("n1"), sentinel("c1", "l1"), sentinel("c1", "l2"))
        store(graph, content("c1", ("n1", ("t1",))))
        store(graph, sentinel("c1", "l1", state=SentinelState.SUPERSEDED))
        assert graph.transact(lambda tx: referenced(tx, "", ["n1"])) == {"n1"}
        assert graph.transact(lambda tx: tags_in_force(tx, ["n1"])) == {"n1": ("t1",)}

    def test_a_deleted_sentinel_references_nothing(self, graph: Graph) -> None:
        store(graph, node("n1"), content("c1", "n1"), sentinel("c1"))
        remove(graph, sentinel("c1"))
        assert not graph.transact(lambda tx: referenced(tx, "", ["n1"]))

    def test_content(self, graph: Graph) -> None:
        row = content("c1", ("n1", ("t1",)), "n2")
        store(graph, row)
        assert graph.transact(lambda tx: tx.contents(["c1", "c2"])) == {"c1": row}
