"""The tags of nodes and the events of tag sets that a claim writes (docs/semantics.md 7, 8)."""

from __future__ import annotations

import pytest

from dagmanager.engine.model.rows import NodeRow, TagSetRow
from tests.engine.builders import (
    Stores,
    engine,
    node,
    submission,
    tag_query,
)
from tests.engine.market import (
    MEAN,
    OTHER,
    PRICE,
    by_name,
    payloads,
    queue_events,
)


def test_of_many_tag_sets_with_long_lists_enough_are_announced_for_every_queue(
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
    assert lists["binance", "s00"] == every, "a registered query always gets its list"
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
def test_a_registered_tag_query_gets_events_for_the_queues_that_it_matches(
    mode: str, expected: list[str]
) -> None:
    stores = Stores()
    works = engine(stores)
    query = tag_query("watch", ["BTC", "spot"], mode)
    works.submit([submission([query], lineage="watcher", strategy="w")])
    assert queue_events(stores) == []  # a query's own queue is never a result
    works.submit([submission([PRICE, MEAN], position=1)])
    events = [each for each in queue_events(stores) if each["match_mode"] == mode]
    last = max((e for e in events if e["tags"] == ["BTC", "spot"]), key=lambda e: int(e["revision"]))
    names = {row.topic: name for name, row in by_name(stores).items()}
    assert sorted(names[each["queue"]] for each in last["queues"]) == sorted(expected)


def test_a_query_of_a_superseded_version_gets_no_events() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([tag_query("watch", ["BTC", "spot"], "all")], lineage="w", strategy="w")])
    works.submit([submission([OTHER], lineage="w", strategy="w", position=1)])
    works.submit([submission([PRICE], position=2)])
    assert [each for each in queue_events(stores) if each["match_mode"] == "all"] == []


def test_leaving_a_tag_set_is_announced_with_the_remaining_list() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE, MEAN])])
    works.submit([submission([PRICE], position=1)])
    last = {tuple(each["tags"]): each for each in queue_events(stores)}
    assert [each["queue"] for each in last[("BTC",)]["queues"]] == [by_name(stores)["price"].topic]
    assert set(last) == {("BTC",), ("BTC", "spot")}  # no tags are no tag set


def test_events_name_the_world_only_of_namespaced_queues() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PRICE], world="w1")])
    assert {(e["world_id"], e["execution_domain"]) for e in payloads(stores)} == {("w1", "live")}
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    assert all("world_id" not in each and "execution_domain" not in each for each in payloads(stores))
