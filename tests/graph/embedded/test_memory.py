"""Only in the embedded graphs: misuse that a server would not notice is an error."""

from __future__ import annotations

import pytest

from dagmanager.engine.model.graph_port import Graph, LookupKeys, Transaction
from dagmanager.engine.model.rows import QueueState, Row
from dagmanager.graph.embedded.memory import MemoryGraph
from tests.graph.builders import node, queue, store


def test_a_transaction_that_is_over_answers_nothing(graph: Graph) -> None:
    kept: list[Transaction] = []
    graph.transact(kept.append)
    with pytest.raises(AssertionError, match="over"):
        kept[0].put([node("n1")])
    with pytest.raises(AssertionError, match="over"):
        kept[0].known(LookupKeys())


def test_a_transaction_does_not_nest(graph: Graph) -> None:
    with pytest.raises(AssertionError, match="inside a transaction"):
        graph.transact(lambda _: graph.transact(lambda _: None))
    with pytest.raises(AssertionError, match="inside a transaction"):
        graph.transact(lambda _: graph.epoch())
    store(graph, node("n1"))  # and the graph is usable afterwards


def test_an_unknown_match_mode_is_a_defect(graph: Graph) -> None:
    with pytest.raises(ValueError, match="any or all"):
        graph.tagged(("t1",), 60, "some", "")


def test_the_clock_is_the_one_given() -> None:
    now = [1_000]
    graph = MemoryGraph(lambda: now[0])
    store(graph, queue("b", state=QueueState.PROVISIONING, claim_id="k1", lease_until_ms=2_000))
    assert graph.overdue_claims(1) == ()
    now[0] = 2_000
    assert graph.overdue_claims(1) == ("k1",)
    assert graph.known(LookupKeys()).now_ms == graph.transact(lambda tx: tx.now_ms()) == 2_000


def test_rows_lists_everything(graph: Graph) -> None:
    rows: list[Row] = [node("n1"), node("n2", base_name="two"), queue("b")]
    store(graph, *reversed(rows))
    assert graph.rows() == tuple(rows)  # type: ignore[attr-defined]  # of the embedded graphs only
