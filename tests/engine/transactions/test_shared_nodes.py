"""No submission makes a node worse for the others that share it (docs/semantics.md 3 and 4)."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.hashing import collision_id
from dagmanager.dag.model import Node
from dagmanager.engine.decide.topic_names import choose_base_names, topic_name
from dagmanager.engine.model.rows import NodeRow
from dagmanager.errors import ErrorCode, NoticeCode
from dagmanager.topics.rules import check_creation
from tests.engine.builders import (
    DAY_MS,
    POLICY,
    START_MS,
    Json,
    Stores,
    accepted,
    engine,
    node,
    refused,
    submission,
    topics_of,
)
from tests.engine.crashing import UnkindTopics

PLAIN = node("price", code="c")


def same(**fields: Any) -> Json:
    """The node of PLAIN with other fields that do not belong to its id."""
    return {**PLAIN, **fields}


def warned(answer: Any) -> list[str]:
    return [each.code.value for each in accepted(answer).warnings]


def only_row(stores: Stores) -> NodeRow:
    (row,) = stores.rows(NodeRow)
    assert isinstance(row, NodeRow)
    return row


# --- names


def test_a_tag_that_begins_with_underscores_is_a_tag_like_any_other() -> None:
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([submission([same(tags=["__x"])], world="w1")])
    (second,) = works.submit([submission([same(tags=["btc"])], strategy="b", lineage="b", position=1)])
    short = PLAIN["node_id"].removeprefix("blake3:")[:8]
    assert topics_of(first) == [f"w1.live.x_ProcessingNode_{short}_v1"]
    assert topics_of(second) == [f"x_ProcessingNode_{short}_v1"]


ODD_TEXTS = st.text(st.sampled_from("_-.aB9 é/\x00|"), max_size=6) | st.text(max_size=300)


@given(
    tags=st.lists(ODD_TEXTS, max_size=2),
    version=ODD_TEXTS,
    node_type=ODD_TEXTS.filter(lambda text: text.strip() != ""),
    name=ODD_TEXTS,
)
def test_the_broker_accepts_every_name_that_is_chosen(
    tags: list[str], version: str, node_type: str, name: str
) -> None:
    parsed = parse_node_json(orjson.dumps(same(tags=tags, node_type=node_type, name=name) | {"node_id": ""}))
    if not isinstance(parsed, Node):
        return
    (base,) = choose_base_names([parsed], version, frozenset()).values()
    for namespace in ("", "w1.live"):
        topic = topic_name(base, namespace, 2, "0" * 8)
        assert check_creation(topic, POLICY.topic_spec("raw", 1, False), None, 1).reason == ""


@pytest.mark.parametrize("first_version", ["v1", "refused"])
def test_a_refused_submission_leaves_no_mark_on_the_node(first_version: str) -> None:
    stores = Stores()
    picky = UnkindTopics(stores.topics, refuses="refused")
    works = engine(stores, topics=picky)
    spoiling = same(tags=["refused"], name="spoiled", schema_hash="bad", artifacts=[], **{"global": True})
    (no,) = works.submit([submission([spoiling], strategy="a", lineage="a", version=first_version)])
    assert refused(no).code is ErrorCode.TOPIC_REFUSED
    (yes,) = works.submit(
        [submission([same(tags=["btc"], schema_hash="good")], strategy="b", lineage="b", position=1)]
    )
    (topic,) = topics_of(yes)
    assert topic.startswith("btc_ProcessingNode_")
    assert "refused" not in topic
    assert warned(yes) == []
    row = only_row(stores)
    assert (row.name, row.global_, row.tags, row.base_refused) == ("price", False, ("btc",), False)
    assert [each.schema_hash for each in row.schemas] == ["good"]


def test_a_refusal_does_not_rename_a_node_that_has_a_topic() -> None:
    stores = Stores()
    picky = UnkindTopics(stores.topics, refuses="w2.live")
    works = engine(stores, topics=picky)
    (first,) = works.submit([submission([same(tags=["btc"])], world="w1")])
    works.submit([submission([same(tags=["eth"])], world="w2", position=1)])
    row = only_row(stores)
    assert row.base_name in topics_of(first)[0]
    assert not row.base_refused


def test_a_joined_claim_decides_again_under_its_own_name() -> None:
    stores = Stores()
    picky = UnkindTopics(stores.topics, refuses="refused")
    works = engine(stores, topics=picky)
    answers = works.submit(
        [
            submission([same(tags=["refused"])], strategy="a", lineage="a"),
            submission([same(tags=["btc"])], strategy="b", lineage="b", position=1),
        ]
    )
    assert refused(answers[0]).code is ErrorCode.TOPIC_REFUSED
    assert topics_of(answers[1])[0].startswith("btc_")


def test_the_first_submission_outside_safe_mode_names_the_node() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([same(tags=["zzz"], name="tried")], domain="", version="branch-x")])
    live = same(tags=["btc"], artifacts=[{"path": "m", "checksum": "s", "size": 1}], **{"global": True})
    (answer,) = works.submit([submission([live], position=1)])
    (topic,) = topics_of(answer)
    assert topic.startswith("btc_ProcessingNode_")
    assert topic.endswith("_v1")
    assert warned(answer) == []
    row = only_row(stores)
    assert (row.name, row.global_, len(row.artifacts), row.safe_only) == ("price", True, 1, False)
    (event,) = (each for each in stores.events.published if each.channel == "queue")
    assert b'"global":true' in event.value


# --- attributes outside the id


def artifact(checksum: str, path: str = "m.onnx") -> Json:
    return {"path": path, "checksum": checksum, "size": 10}


def test_artifacts_and_global_of_a_known_node_are_merged_with_a_warning() -> None:
    """Also by the same strategy id, whose two submissions have one digest."""
    stores = Stores()
    works = engine(stores)
    (first,) = works.submit([submission([same(artifacts=[artifact("sha:AAA")])])])
    second = same(artifacts=[artifact("sha:BBB")], **{"global": True})
    (answer,) = works.submit([submission([second], position=1)])
    assert topics_of(answer) == topics_of(first)
    assert warned(answer) == ["node_attributes_differ"]
    row = only_row(stores)
    assert ([each.checksum for each in row.artifacts], row.global_) == (["sha:AAA", "sha:BBB"], True)
    # It is known now: no more warning, and no more write.
    before = stores.all_rows()
    (third,) = works.submit([submission([second], position=2)])
    assert (warned(third), stores.all_rows()) == ([], before)


def test_a_replay_of_a_merge_gives_the_same_answer() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PLAIN])])
    again = submission([same(**{"global": True})], position=1)
    (first,) = works.submit([again])
    (replay,) = engine(stores, owner="two").submit([again])
    assert accepted(replay) == accepted(first)
    assert warned(replay) == ["node_attributes_differ"]


def test_attributes_do_not_depend_on_the_order_of_submissions() -> None:
    variants = [
        same(artifacts=[artifact("a")]),
        same(artifacts=[artifact("b"), artifact("a", "other")]),
        same(**{"global": True}),
    ]
    found = set()
    for order in permutations(variants):
        stores = Stores()
        works = engine(stores)
        for position, each in enumerate(order):
            works.submit([submission([each], strategy=f"s{position}", lineage="l", position=position)])
        row = only_row(stores)
        found.add((row.artifacts, row.global_))
    assert len(found) == 1


def test_safe_mode_changes_no_attribute_of_a_known_node() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PLAIN])])
    before = only_row(stores)
    (answer,) = works.submit([submission([same(name="x", **{"global": True})], domain="", position=1)])
    assert warned(answer) == []
    assert only_row(stores) == before


def test_the_name_is_that_of_the_content_in_force_last() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([same(name="one")])])
    (renamed,) = works.submit([submission([same(name="two")], version="v2", position=1)])
    assert (only_row(stores).name, warned(renamed)) == ("two", [])  # its own node: no disagreement
    (other,) = works.submit([submission([same(name="three")], strategy="o", lineage="o", position=2)])
    assert (only_row(stores).name, warned(other)) == ("three", ["node_attributes_differ"])
    (parked,) = works.submit(
        [submission([same(name="four")], version="v3", weight=0, position=3, at_ms=START_MS + 3)]
    )
    assert only_row(stores).name == "three"
    assert NoticeCode.NODE_ATTRIBUTES_DIFFER in {each.code for each in accepted(parked).warnings}


# --- schema windows


def test_schema_windows_never_run_backwards() -> None:
    """A at day 0; B at day 10; C, recorded at day 2, is read at day 10."""
    stores = Stores()
    works = engine(stores)
    a, b, c = (same(schema_hash=each) for each in "ABC")

    def send(nodes: Json, number: int, day: int) -> Any:
        at_ms = START_MS + day * DAY_MS
        (answer,) = works.submit(
            [submission([nodes], strategy=f"s{number}", lineage=f"l{number}", position=number, at_ms=at_ms)]
        )
        return accepted(answer).buffers

    send(a, 1, 0)
    stores.clock.now_ms += 10 * DAY_MS
    send(b, 2, 10)
    assert send(c, 3, 2)
    row = only_row(stores)
    assert (row.schema_hash, row.buffering_since_ms) == ("C", START_MS + 10 * DAY_MS)
    assert send(c, 4, 10)  # still buffering
    assert send(b, 5, 10)  # an older schema within its window
    assert only_row(stores) == row


def test_a_clock_that_was_set_back_moves_no_window() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([same(schema_hash="A")])])
    works.submit([submission([same(schema_hash="B")], version="v2", position=1)])
    before = only_row(stores)
    stores.clock.now_ms -= DAY_MS
    works.submit([submission([same(schema_hash="C")], version="v3", position=2)])
    row = only_row(stores)
    assert row.buffering_since_ms == before.buffering_since_ms
    assert dict(row.schemas)["B"] == dict(before.schemas)["B"]


# --- one id, one spec


def collided(number: int, **fields: Any) -> Json:
    parsed = parse_node_json(orjson.dumps(PLAIN | fields))
    assert isinstance(parsed, Node)
    return {**PLAIN, **fields, "node_id": collision_id(parsed.preimage, number)}


@pytest.mark.parametrize("number", range(1, 9))
def test_a_collision_id_needs_every_smaller_id_to_be_of_another_spec(number: int) -> None:
    stores = Stores()
    works = engine(stores)
    (no,) = works.submit([submission([collided(number)])])
    assert refused(no).code is ErrorCode.NODE_ID_MISMATCH
    assert refused(no).expected == PLAIN["node_id"]
    works.submit([submission([PLAIN], position=1)])
    (still,) = works.submit([submission([collided(number)], position=2)])
    assert refused(still).code is ErrorCode.NODE_ID_MISMATCH
    # Another spec has the plain id, and each smaller collision id.
    row = only_row(stores)
    for smaller in (row.node_id, *(collided(n)["node_id"] for n in range(1, number))):
        stores.put(replace(row, node_id=smaller, code_hash="another", base_name=f"base-{smaller[-8:]}"))
    (yes,) = works.submit([submission([collided(number)], strategy="late", lineage="x", position=3)])
    assert accepted(yes).actions.create == 1


def test_one_id_with_another_spec_in_the_graph_is_refused_with_the_field() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PLAIN])])
    row = only_row(stores)
    stores.put(replace(row, interval=61))
    (no,) = works.submit([submission([PLAIN], strategy="b", lineage="b", position=1)])
    why = refused(no)
    assert (why.code, why.field, why.expected, why.got) == (
        ErrorCode.CONFLICTING_NODE,
        "interval",
        "61",
        "60",
    )


def test_a_spec_that_only_safe_mode_sent_holds_no_id() -> None:
    stores = Stores()
    works = engine(stores)
    works.submit([submission([PLAIN], domain="")])
    stores.put(replace(only_row(stores), interval=61))
    (answer,) = works.submit([submission([PLAIN], position=1)])
    assert accepted(answer).actions.create == 1
    assert only_row(stores).interval == 60
