"""What a claim tells others: epoch, schemas, tags and events (docs/semantics.md 7, 8)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dagmanager.engine.model.graph_port import Locks, Transaction
from dagmanager.engine.model.rows import NodeRow, QueueRow, QueueState, TagSetRow
from tests.engine.builders import (
    START_MS,
    Stores,
    engine,
    node,
    submission,
    tag_query,
    told,
)
from tests.engine.market import (
    MEAN,
    OTHER,
    PRICE,
    by_name,
    payloads,
    queue_events,
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
def test_the_epoch_is_raised_by_what_changes_an_answer_already_given(
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


def test_a_changed_schema_buffers_for_everybody_and_is_remembered() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    changed = PRICE | {"schema_hash": "h2"}
    (answer,) = works.submit(
        [submission([changed], position=1, at_ms=START_MS - 5, strategy="s2", lineage="b")]
    )
    assert [(each.node_id, each.lag) for each in told(answer).buffers] == [(PRICE["node_id"], 5)]
    (row,) = stores.rows(NodeRow)
    assert (row.schema_hash, row.buffering_since_ms) == ("h2", START_MS - 5)
    assert {each.schema_hash for each in row.schemas} == {"h1", "h2"}
    (old,) = works.submit([submission([PRICE], position=2, strategy="s3", lineage="c")])
    assert told(old).actions.buffer == 1
    assert stores.rows(NodeRow)[0] == row


def test_a_queue_in_another_world_with_another_schema_buffers_for_those_there_are() -> None:
    stores = Stores()
    works = engine(stores)
    changed = PRICE | {"schema_hash": "h2"}
    works.submit([submission([PRICE], world="w1")])
    (created,) = works.submit([submission([changed], world="w2", position=1, strategy="s2", lineage="b")])
    assert (told(created).actions.create, told(created).buffers) == (1, ())
    assert stores.graph.epoch() == 1
    for position, (nodes, world) in enumerate([(changed, "w1"), (PRICE, "w1"), (changed, "w2")], 2):
        (answer,) = works.submit(
            [submission([nodes], world=world, position=position, strategy=f"s{position}", lineage="c")]
        )
        assert told(answer).actions.buffer == 1


def test_a_queue_that_takes_the_place_of_a_lost_one_adopts_its_schema() -> None:
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
    assert told(answer).actions.create == 1
    (row,) = stores.rows(NodeRow)
    assert (row.schema_hash, row.buffering_since_ms) == ("h2", None)


def test_many_sets_with_long_lists_are_announced_as_far_as_every_queue_is_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exchange and symbol as tags: each of N nodes has a set of its own with all N queues in it."""
    monkeypatch.setattr("dagmanager.engine.transactions.tag_events.OWN_LISTS_MAX", 60)
    stores = Stores()
    works = engine(stores)
    nodes = [node(f"n{number}", tags=["binance", f"s{number:02}"]) for number in range(20)]
    alone = node("alone", tags=["kraken"])
    query = tag_query("all of binance", ["binance", "s00"])
    works.submit([submission([query], strategy="q", lineage="q")])
    before = len(queue_events(stores))
    works.submit([submission([*nodes, alone], position=1)])
    events = queue_events(stores)[before:]
    lists = {tuple(each["tags"]): [one["queue"] for one in each["queues"]] for each in events}
    topics = {name: row.topic for name, row in by_name(stores).items()}
    assert sum(map(len, lists.values())) < 20 * 20 / 2
    assert {topic for queues in lists.values() for topic in queues} == set(topics.values()) - {
        topics["all of binance"]
    }
    assert lists["kraken",] == [topics["alone"]]
    every = sorted(topic for name, topic in topics.items() if name.startswith("n"))
    assert lists["binance", "s00"] == every, "what a query asks for is always told"
    assert all(queues == every for tags, queues in lists.items() if tags[0] == "binance"), (
        "and each list is whole"
    )


def test_tags_are_the_union_over_the_active_contents() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE])])
    works.submit([submission([PRICE | {"tags": ["spot", "x"]}], lineage="beta", strategy="s2", position=1)])
    assert stores.rows(NodeRow)[0].tags == ("BTC", "spot", "x")
    works.submit([submission([OTHER], lineage="beta", strategy="s2", position=2)])
    assert next(row for row in stores.rows(NodeRow) if row.name == "price").tags == ("BTC", "spot")


def test_a_new_queue_is_announced_for_its_own_tags_with_a_revision() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE, MEAN])])
    events = {tuple(each["tags"]): each for each in queue_events(stores)}
    assert set(events) == {("BTC", "spot"), ("BTC",)}
    both = [{"queue": topic, "global": False} for topic in sorted(stores.topics.names())]
    for each in events.values():
        assert (each["match_mode"], each["version"], each["revision"]) == ("any", 1, 1)
        assert each["queues"] == both
    assert {row.key.tags: row.revision for row in stores.rows(TagSetRow)} == {("BTC",): 1, ("BTC", "spot"): 1}


@pytest.mark.parametrize(("mode", "expected"), [("any", ["price", "mean"]), ("all", ["price"])])
def test_a_registered_tag_query_is_told_of_what_it_matches(mode: str, expected: list[str]) -> None:
    stores = Stores()
    works = engine(stores)
    query = tag_query("watch", ["BTC", "spot"], mode)
    works.submit([submission([query], lineage="watcher", strategy="w")])
    assert queue_events(stores) == []  # a query's own queue is never a result
    works.submit([submission([PRICE, MEAN], position=1)])
    told_of = [each for each in queue_events(stores) if each["match_mode"] == mode]
    last = max((e for e in told_of if e["tags"] == ["BTC", "spot"]), key=lambda e: int(e["revision"]))
    names = {row.topic: name for name, row in by_name(stores).items()}
    assert sorted(names[each["queue"]] for each in last["queues"]) == sorted(expected)


def test_a_query_that_is_not_in_force_any_more_is_told_nothing() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([tag_query("watch", ["BTC", "spot"], "all")], lineage="w", strategy="w")])
    works.submit([submission([OTHER], lineage="w", strategy="w", position=1)])
    works.submit([submission([PRICE], position=2)])
    assert [each for each in queue_events(stores) if each["match_mode"] == "all"] == []


def test_leaving_a_set_is_announced_with_the_list_that_is_left() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    works.submit([submission([PRICE], position=1)])
    last = {tuple(each["tags"]): each for each in queue_events(stores)}
    assert [each["queue"] for each in last[("BTC",)]["queues"]] == [by_name(stores)["price"].topic]
    assert set(last) == {("BTC",), ("BTC", "spot")}  # nobody can ask for no tags at all


def test_events_name_the_world_only_of_namespaced_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], world="w1")])
    assert {(e["world_id"], e["execution_domain"]) for e in payloads(stores)} == {("w1", "live")}
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    assert all("world_id" not in each and "execution_domain" not in each for each in payloads(stores))
