"""Schemas and the epoch: what a claim writes for nodes that exist (docs/semantics.md 3, 7)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import NodeRow, QueueRow, QueueState
from tests.engine.builders import (
    START_MS,
    Stores,
    accepted,
    engine,
    submission,
)
from tests.engine.market import (
    OTHER,
    PRICE,
)

EPOCH_STEPS: list[tuple[str, list[dict[str, Any]], int]] = [
    ("a new node", [OTHER], 0),
    ("the same again", [PRICE], 0),
    ("a changed schema", [PRICE | {"schema_hash": "h2"}], 1),
    ("no schema given", [{k: v for k, v in PRICE.items() if k != "schema_hash"}], 0),
    ("tags only", [PRICE | {"tags": ["BTC", "new"]}], 0),
]


@pytest.mark.parametrize(
    ("nodes", "raised"), [step[1:] for step in EPOCH_STEPS], ids=[s[0] for s in EPOCH_STEPS]
)
def test_the_epoch_is_raised_by_what_changes_an_earlier_answer(
    nodes: list[dict[str, Any]], raised: int
) -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    assert stores.graph.epoch() == 0
    works.submit([submission(nodes, strategy="s2", lineage="beta", position=1)])
    assert stores.graph.epoch() == raised


def test_adopting_a_first_schema_raises_no_epoch() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([{k: v for k, v in PRICE.items() if k != "schema_hash"}])])
    works.submit([submission([PRICE], lineage="beta", strategy="s2", position=1)])
    assert stores.graph.epoch() == 0
    assert stores.rows(NodeRow)[0].schema_hash == "h1"


def test_a_changed_schema_makes_every_submission_buffer_and_is_stored() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    changed = PRICE | {"schema_hash": "h2"}
    (answer,) = works.submit(
        [submission([changed], position=1, at_ms=START_MS - 5, strategy="s2", lineage="b")]
    )
    assert [(each.node_id, each.lag) for each in accepted(answer).buffers] == [(PRICE["node_id"], 5)]
    (row,) = stores.rows(NodeRow)
    assert (row.schema_hash, row.buffering_since_ms) == ("h2", START_MS)
    assert {each.schema_hash for each in row.schemas} == {"h1", "h2"}
    (old,) = works.submit([submission([PRICE], position=2, strategy="s3", lineage="c")])
    assert accepted(old).actions.buffer == 1
    assert stores.rows(NodeRow)[0] == row


def test_another_schema_in_a_new_namespace_makes_the_existing_ones_buffer() -> None:
    stores = Stores()
    works = engine(stores)
    changed = PRICE | {"schema_hash": "h2"}
    works.submit([submission([PRICE], world="w1")])
    (created,) = works.submit([submission([changed], world="w2", position=1, strategy="s2", lineage="b")])
    assert (accepted(created).actions.create, accepted(created).buffers) == (1, ())
    assert stores.graph.epoch() == 1
    for position, (nodes, world) in enumerate([(changed, "w1"), (PRICE, "w1"), (changed, "w2")], 2):
        (answer,) = works.submit(
            [submission([nodes], world=world, position=position, strategy=f"s{position}", lineage="c")]
        )
        assert accepted(answer).actions.buffer == 1


def test_a_queue_that_replaces_a_lost_one_sets_the_schema() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    (queue,) = stores.rows(QueueRow)

    def lose(tx: Transaction) -> None:
        tx.lock(Locks(nodes=(queue.binding.node_id,)))
        tx.put([replace(queue, state=QueueState.LOST)])

    stores.graph.transact(lose)
    changed = PRICE | {"schema_hash": "h2"}
    (answer,) = works.submit([submission([changed], version="v2", position=1)])
    assert accepted(answer).actions.create == 1
    (row,) = stores.rows(NodeRow)
    assert (row.schema_hash, row.buffering_since_ms) == ("h2", None)
