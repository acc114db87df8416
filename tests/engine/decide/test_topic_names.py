from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.dag.model import ComputeContext, Node
from dagmanager.dag.record.context import NAMESPACE_MAX
from dagmanager.engine.decide.topic_names import (
    MAX_TOPIC,
    base_name_candidates,
    choose_base_names,
    safe_suffix,
    topic_name,
)
from dagmanager.engine.model.rows import fold

LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")
CONTRACT = Path(__file__).parents[2] / "contract"


def node(
    digest: str = "0123456789abcdef" * 4, node_type: str = "Indicator", tags: tuple[str, ...] = ("BTC",)
) -> Node:
    return Node(f"blake3:{digest}", node_type, 60, 1, "null", (), "s", "c", b"", tags=tags)


def first(of: Node, version: str = "v1") -> str:
    return next(base_name_candidates(of, version))


@pytest.mark.parametrize(
    ("tags", "node_type", "version", "name"),
    [
        (("BTC",), "Indicator", "v1", "btc_Indicator_01234567_v1"),
        ((), "StreamInput", "v1.2.3", "asset_StreamInput_01234567_v1.2.3"),
        (("BTC/USD",), "Node", "v1", "btcusd_Node_01234567_v1"),
        (("비트코인",), "Node", "v1", "asset_Node_01234567_v1"),
        (("a.b_c-D",), "Node", "v1", "ab_c-d_Node_01234567_v1"),
        (("x",), "my node/2", "feature-x", "x_my-node-2_01234567_feature-x"),
        (("x",), "", "", "x_node_01234567_v1"),
        (("x",), "노드", "버전1", "x_--_01234567_--1"),
        (("x",), "N", "v1.0.0-hotfix", "x_N_01234567_v1.0.0-hotfix"),
    ],
)
def test_the_form_of_a_name(tags: tuple[str, ...], node_type: str, version: str, name: str) -> None:
    assert first(node(tags=tags, node_type=node_type), version) == name


def test_the_hash_grows_by_two_and_then_numbers_follow() -> None:
    names = list(islice(base_name_candidates(node(), "v1"), 31))
    lengths = [len(name.split("_")[2]) for name in names[:29]]
    assert lengths == list(range(8, 65, 2))
    assert [name.rsplit("_", 1)[1] for name in names[29:]] == ["v2", "v3"]


@pytest.mark.parametrize("namespace", [0, 10, 100, NAMESPACE_MAX])
def test_a_long_name_is_shortened_but_keeps_its_hash(namespace: int) -> None:
    long = node(node_type="t" * 400, tags=("a" * 300,))
    for name in islice(base_name_candidates(long, "v" * 300), 31):
        assert LEGAL.fullmatch(topic_name(name, "n" * namespace, 9999, "0" * 8))
    parts = first(long, "v" * 300).split("_")
    assert parts[2] == "01234567"
    assert min(map(len, parts)) >= 3


def test_only_what_is_too_long_is_shortened() -> None:
    name = first(node(node_type="t" * 400), "v1")
    assert name.startswith("btc_t")
    assert name.endswith("_01234567_v1")
    assert len(name) == MAX_TOPIC - 24


def test_near_equal_names_get_longer_hashes_whatever_the_order() -> None:
    # Equal but for case and dots, and the same first 8 of the digest: brokers would confuse them.
    nodes = [
        node("01234567aa" + "0" * 54, "My.Type"),
        node("01234567bb" + "0" * 54, "my_type"),
        node("01234567bb" + "1" * 54, "MY_TYPE"),
    ]
    names = choose_base_names(nodes, "v1", frozenset())
    assert names == choose_base_names(nodes[::-1], "v1", frozenset())
    assert [names[each.node_id] for each in nodes] == [
        "btc_My.Type_01234567_v1",
        "btc_my_type_01234567bb_v1",
        "btc_MY_TYPE_01234567bb11_v1",
    ]


def test_taken_names_are_not_chosen() -> None:
    taken = {fold(name) for name in islice(base_name_candidates(node(), "v1"), 29)}
    (name,) = choose_base_names([node(), node()], "v1", taken).values()
    assert name == f"btc_Indicator_{'0123456789abcdef' * 4}_v1_v2"


NODES = st.builds(
    node,
    digest=st.text("01", min_size=64, max_size=64),
    node_type=st.text(st.sampled_from("aA._-é /0"), max_size=12) | st.text("t", min_size=250, max_size=300),
    tags=st.lists(st.text(max_size=6), max_size=2).map(tuple),
)


@settings(deadline=None)
@given(st.lists(NODES, max_size=30), st.text(max_size=8), st.integers(0, NAMESPACE_MAX))
def test_names_are_legal_unique_and_deterministic(nodes: list[Node], version: str, namespace: int) -> None:
    names = choose_base_names(nodes, version, frozenset())
    assert set(names) == {each.node_id for each in nodes}
    assert len({fold(name) for name in names.values()}) == len(names)
    assert all(LEGAL.fullmatch(topic_name(name, "n" * namespace, 12, "abcdef01")) for name in names.values())
    again = choose_base_names(nodes, version, {fold(name) for name in names.values()})
    assert not {fold(name) for name in again.values()} & {fold(name) for name in names.values()}


@given(st.permutations([node(f"{n:064x}") for n in range(6)]))
def test_the_order_of_the_nodes_changes_no_name(nodes: Sequence[Node]) -> None:
    expected = {
        each.node_id: name for each, name in zip(sorted(nodes, key=lambda n: n.node_id), NAMES, strict=True)
    }
    assert choose_base_names(nodes, "v1", frozenset()) == expected


NAMES = [
    "btc_Indicator_00000000_v1",
    *(f"btc_Indicator_{'0' * length}_v1" for length in (10, 12, 14, 16, 18)),
]


@pytest.mark.parametrize(
    ("namespace", "incarnation", "safe", "topic"),
    [
        ("", 1, "", "b"),
        ("w1.live", 1, "", "w1.live.b"),
        ("", 2, "", "b_v2"),
        ("w1.live", 3, "", "w1.live.b_v3"),
        ("", 1, "deadbeef", "b_safe_deadbeef"),
        ("w1.backtest", 2, "deadbeef", "w1.backtest.b_safe_deadbeef_v2"),
    ],
)
def test_a_topic_is_prefix_name_and_suffixes(namespace: str, incarnation: int, safe: str, topic: str) -> None:
    assert topic_name("b", namespace, incarnation, safe) == topic


def test_every_topic_of_the_contract_in_its_namespace() -> None:
    vectors = [*map(json.loads, (CONTRACT / "namespace_vectors.jsonl").read_text().splitlines())]
    assert len(vectors) > 100
    for vector in vectors:
        assert topic_name(vector["topic"], vector["namespace"] or "") == vector["namespaced"], vector


@given(st.text("ab", min_size=100, max_size=225), st.integers(0, NAMESPACE_MAX), st.integers(1, 9999))
def test_a_base_name_fits_behind_any_namespace(base: str, length: int, incarnation: int) -> None:
    topic = topic_name(base, "n" * length, incarnation, "deadbeef")
    assert LEGAL.fullmatch(topic)
    other = topic_name(base[:-1] + "c", "n" * length, incarnation, "deadbeef")
    assert topic != other


def test_a_namespace_that_leaves_no_room_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no room"):
        topic_name("b" * 100, "n" * 240)


CONTEXT = ComputeContext("w1", "backtest", "", "p", "f", "w1.backtest", "missing_as_of")


def test_the_safe_suffix_is_stable_and_short() -> None:
    suffix = safe_suffix("alpha", "blake3:aa", CONTEXT)
    assert re.fullmatch(r"[0-9a-f]{8}", suffix)
    assert suffix == safe_suffix("alpha", "blake3:aa", CONTEXT)
    parts = ["alpha", "blake3:aa", "w1", "backtest", "", "p", "f", "w1.backtest", "missing_as_of"]
    assert suffix == blake3(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    "other",
    [
        ("beta", "blake3:aa", CONTEXT),
        ("alpha", "blake3:bb", CONTEXT),
        *(("alpha", "blake3:aa", replace(CONTEXT, **{name: "other"})) for name in CONTEXT.__struct_fields__),
    ],
)
def test_every_part_of_lineage_content_and_context_changes_the_safe_suffix(
    other: tuple[str, str, ComputeContext],
) -> None:
    assert safe_suffix(*other) != safe_suffix("alpha", "blake3:aa", CONTEXT)
