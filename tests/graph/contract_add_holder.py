"""What every Graph promises of the two small calls behind the answer cache: `epoch_reading` and `add_holder`."""

from __future__ import annotations

import msgspec
import pytest

from dagmanager.engine.model.graph_port import Graph, HolderInsert, LookupKeys
from dagmanager.engine.model.rows import CounterRow, OutcomeRow, Row
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelRow,
    SentinelState,
)
from tests.graph.builders import content, holder, lineage_row, node, outcome, sentinel, store
from tests.graph.contract_rivals import concurrently

RIVALS = 4
LINE = LineageKey("line", "")
IN_FORCE = sentinel("c1", version="v2")
LEFT = sentinel("c0", version="v10", revision=2, state=SentinelState.SUPERSEDED)


def insert(strategy_id: str = "s1", at_ms: int = 5, partition: int = 0, position: int = 0) -> HolderInsert:
    made = HolderRow(HolderKey(strategy_id, "", "w"), IN_FORCE.key, f"digest of {strategy_id}", None, 9)
    return HolderInsert(
        LineageRow(LINE, at_ms, partition, position),
        (LEFT, IN_FORCE),
        0,
        made,
        OutcomeRow(f"claim of {strategy_id}", b"", (), 9),
    )


def a_version_in_force(graph: Graph) -> None:
    rows: list[Row] = [node("n1"), content("c0", "n1"), content("c1", "n1"), LEFT, IN_FORCE]
    store(graph, *rows, lineage_row(at_ms=3))


def known(
    graph: Graph, asked: HolderInsert
) -> tuple[HolderRow | None, OutcomeRow | None, tuple[int, int, int] | None]:
    """Holder, outcome, and the lineage's clock."""
    keys = LookupKeys(
        lineages=frozenset({LINE}),
        holders=frozenset({asked.holder.key}),
        outcomes=frozenset({asked.outcome.claim_id}),
    )
    found = graph.known(keys)
    lineage = found.lineages.get(LINE)
    return (
        found.holders.get(asked.holder.key),
        found.outcomes.get(asked.outcome.claim_id),
        None if lineage is None else lineage.place,
    )


def refused_after(graph: Graph, *changed: Row) -> bool:
    """Whether an insert that was decided before this change is refused and writes nothing."""
    a_version_in_force(graph)
    store(graph, *changed)
    before = known(graph, insert())
    return not graph.add_holder(insert()) and known(graph, insert()) == before


class EpochReadingContract:
    def test_the_epoch_and_the_counters_that_were_asked_for(self, graph: Graph, rival: Graph) -> None:
        assert graph.epoch_reading(["moves:01"]).counters == {"moves:01": 0}
        store(graph, CounterRow("moves:01", 4), CounterRow("moves:02", 5))
        graph.transact(lambda tx: tx.raise_epoch())
        for each in (graph, rival):
            found = each.epoch_reading(["moves:02", "moves:03", "moves:01"])
            assert found.counters == {"moves:01": 4, "moves:02": 5, "moves:03": 0}
            assert found.epoch == 1

    def test_the_clock_is_the_stores(self, graph: Graph) -> None:
        before = graph.known(LookupKeys()).now_ms
        assert before <= graph.epoch_reading([]).now_ms <= graph.known(LookupKeys()).now_ms


class AddHolderContract:
    def test_one_more_holder_of_a_version_in_force(self, graph: Graph, rival: Graph) -> None:
        a_version_in_force(graph)
        store(graph, holder("s0", IN_FORCE.key))
        assert graph.add_holder(insert())
        for each in (graph, rival):
            assert known(each, insert()) == (insert().holder, insert().outcome, (5, 0, 0))
        held_by = graph.transact(lambda tx: tx.holders_of(IN_FORCE.key))
        assert [row.key.strategy_id for row in held_by] == ["s0", "s1"]

    def test_the_clock_of_the_lineage_never_goes_back(self, graph: Graph) -> None:
        a_version_in_force(graph)
        assert graph.add_holder(insert(at_ms=2, partition=9))
        assert known(graph, insert())[2] == (3, 0, 0)

    def test_of_records_of_one_millisecond_partition_and_offset_decide(self, graph: Graph) -> None:
        a_version_in_force(graph)
        places = [(3, 2, 5), (3, 1, 7), (3, 2, 4), (3, 2, 6), (4, 0, 1), (3, 9, 9)]
        for number, place in enumerate(places):
            assert graph.add_holder(insert(f"s{number}", *place))
            assert known(graph, insert())[2] == max(places[: number + 1])

    def test_nothing_else_is_written(self, graph: Graph) -> None:
        a_version_in_force(graph)
        keys = LookupKeys(lineages=frozenset({LINE}))
        before = graph.known(keys)
        graph.add_holder(insert())
        after = graph.known(keys)
        assert (after.sentinels, after.epoch) == (before.sentinels, before.epoch)

    @pytest.mark.parametrize(
        "changed",
        [
            msgspec.structs.replace(IN_FORCE, weight=0.5),
            msgspec.structs.replace(LEFT, state=SentinelState.ACTIVE),
            sentinel("c2", version="v3", state=SentinelState.PENDING),
        ],
        ids=["weight", "state", "one more"],
    )
    def test_a_changed_lineage_refuses(self, graph: Graph, changed: SentinelRow) -> None:
        assert refused_after(graph, content("c2", "n1"), changed)

    def test_another_epoch_refuses(self, graph: Graph) -> None:
        graph.transact(lambda tx: tx.raise_epoch())
        assert refused_after(graph)

    def test_a_holder_that_is_there_refuses(self, graph: Graph) -> None:
        assert refused_after(graph, holder("s1", LEFT.key))

    def test_an_outcome_that_is_there_refuses(self, graph: Graph) -> None:
        assert refused_after(graph, outcome("claim of s1"))

    def test_an_unknown_lineage_refuses(self, graph: Graph) -> None:
        assert not graph.add_holder(insert())
        assert known(graph, insert()) == (None, None, None)

    def test_of_rivals_with_one_id_one_writes(self, graph: Graph, rival: Graph) -> None:
        a_version_in_force(graph)
        found = concurrently(RIVALS, lambda number: (graph, rival)[number % 2].add_holder(insert()))
        assert sorted(found) == [False] * (RIVALS - 1) + [True]

    def test_rivals_with_ids_of_their_own_all_write(self, graph: Graph, rival: Graph) -> None:
        a_version_in_force(graph)
        found = concurrently(
            RIVALS, lambda number: (graph, rival)[number % 2].add_holder(insert(f"s{number}", number))
        )
        assert found == [True] * RIVALS
        assert known(graph, insert("s0"))[2] == (3, 0, 0)
