"""What an id depends on, and what never changes it (docs/requirements.md M4, M5); fast path and naive twin agree."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.hashing import collision_id, node_id
from dagmanager.dag.model import Node
from dagmanager.dag.nodes.params import DROPPED_KEYS
from tests.dag import made, naive
from tests.dag.naive_json import Refused, exact

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
KEYS = st.one_of(
    TEXTS, st.sampled_from(["seed", "World", "ENV_x", "as_of", "window", "env", "e1", "domainX"])
)
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e-7, 1e22, 1e16, 1e15, 0.0001, 0.00001, -0.0, 5e-324, 123456789012345680.0, -1.5e-5]),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(10**40), 10**40), FLOATS, TEXTS)
PARAMS = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4))
    ),
    max_size=5,
)
IDS = st.integers(0, 2**256 - 1).map(lambda number: f"blake3:{number:064x}")
NODES = st.fixed_dictionaries(
    {"node_type": st.one_of(st.sampled_from(["Node", "TagQueryNode", "노드|x"]), TEXTS)},
    optional={
        "interval": st.sampled_from([None, "", 0, 60, "60", 60.0, 2**40, "+5"]),
        "period": st.sampled_from([None, "", 0, 500, "24", 7.0]),
        "params": st.one_of(st.none(), PARAMS),
        "config": st.one_of(st.none(), PARAMS),
        "inputs": st.one_of(st.none(), st.lists(st.one_of(IDS, st.just("")), max_size=3)),
        "dependencies": st.one_of(st.none(), st.lists(IDS, max_size=3)),
        "schema_compat_id": st.sampled_from([None, "", "s1", " s1 "]),
        "schema_id": st.sampled_from([None, "", "s1"]),
        "code_hash": TEXTS,
        "tags": st.one_of(st.none(), TEXTS, st.lists(TEXTS, max_size=3)),
        "match_mode": st.sampled_from([None, "any", "ALL", "weird"]),
    },
)


def id_of(fields: dict[str, Any], *, ascii_only: bool = False) -> str:
    found = parse_node_json(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert isinstance(found, Node), found
    return found.node_id


@settings(max_examples=300)
@given(NODES, st.booleans())
def test_the_fast_path_agrees_with_the_naive_twin(fields: dict[str, Any], ascii_only: bool) -> None:
    found = parse_node_json(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert (found.node_id if isinstance(found, Node) else found.code.value) == twin(fields)


def twin(fields: dict[str, Any]) -> str:
    try:
        return naive.id_of(naive.preimage_of(exact(json.dumps(fields))))
    except Refused as refused:
        return refused.code


@settings(max_examples=100)
@given(st.lists(st.tuples(PARAMS, st.lists(IDS, max_size=2)), min_size=1, max_size=6))
def test_a_batch_of_plain_nodes_gets_the_twins_ids(specs: list[tuple[dict[str, Any], list[str]]]) -> None:
    nodes = [made.node(params=params, inputs=inputs) for params, inputs in specs]
    found = made.accepted(made.request(made.dag(*nodes)))
    assert [node.node_id for node in found.nodes] == list(dict.fromkeys(node["node_id"] for node in nodes))


@given(NODES, st.randoms(use_true_random=False))
def test_order_of_keys_and_dependencies_never_changes_an_id(
    fields: dict[str, Any], dice: random.Random
) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            names = list(value)
            dice.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        return value

    other = shuffled(fields)
    for name in ("inputs", "dependencies"):
        if other.get(name):
            dice.shuffle(other[name])
    if not isinstance(parse_node_json(json.dumps(fields).encode()), Node):
        return
    assert id_of(other) == id_of(fields)


@given(NODES, PARAMS)
def test_display_and_world_fields_never_change_an_id(fields: dict[str, Any], noise: dict[str, Any]) -> None:
    if not isinstance(parse_node_json(json.dumps(fields).encode()), Node):
        return
    before = id_of(fields)
    shown = {"name": "other", "schema_hash": "x", "metadata": noise, "world_id": "w", "execution_domain": 1}
    if fields["node_type"] != "TagQueryNode":
        shown["tags"] = ["other"]
    assert id_of(fields | shown) == before


@given(PARAMS, st.sampled_from([*sorted(DROPPED_KEYS), "env_anything"]), LEAVES, st.booleans())
def test_where_and_when_inside_params_never_change_an_id(
    params: dict[str, Any], key: str, value: object, upper: bool
) -> None:
    noisy = {(key.upper() if upper else key): value}
    assert id_of(made.node(params=params | noisy)) == id_of(
        made.node(params={name: kept for name, kept in params.items() if name.lower() != key})
    )
    noisier = {"inner": [params | noisy, {"deep": params | noisy}]}
    kept = {name: item for name, item in params.items() if name.lower() != key}
    assert id_of(made.node(params=noisier)) == id_of(made.node(params={"inner": [kept, {"deep": kept}]}))


@given(st.permutations(range(5)), st.integers(0, 1))
def test_order_of_nodes_never_changes_ids_or_the_content(order: list[int], form: int) -> None:
    nodes = [made.node(period=number, tags=[str(number)]) for number in range(5)]
    first = made.accepted(made.request(made.dag(*nodes)))
    other = made.accepted(made.request(made.dag(*(nodes[at] for at in order), *nodes[:form])))
    assert {node.node_id for node in first.nodes} == {node.node_id for node in other.nodes}
    assert first.content_digest == other.content_digest


def test_integers_of_any_size_are_exact() -> None:
    for number in (2**64, -(2**63) - 1, 10**400, int("9" * 4300)):
        assert id_of(made.node(params={"n": number})) == made.node(params={"n": number})["node_id"]
    longer = b'{"node_type":"Node","params":{"n":%s}}' % (b"9" * 5000)
    found = parse_node_json(longer)
    assert isinstance(found, Node)
    assert found.params_canon == '{"n":' + "9" * 5000 + "}"


def test_a_taken_digest_is_hashed_again_with_64_bytes() -> None:
    plain = made.node()
    preimage = naive.preimage_of(plain).encode()
    assert node_id(preimage) == plain["node_id"]
    second = collision_id(preimage, 2)
    assert len(second) == len("blake3:") + 128
    found = made.accepted(made.request(made.dag(plain | {"node_id": second})))
    assert (found.nodes[0].node_id, found.nodes[0].collision) == (second, 2)
    ninth = made.refused(made.request(made.dag(plain | {"node_id": collision_id(preimage, 9)})))
    assert ninth.code == "node_id_mismatch"


def test_resolved_queues_of_a_tag_query_are_no_part_of_it() -> None:
    query = made.node(node_type="TagQueryNode", params={"query_tags": ["b", "a"], "match_mode": "ALL"})
    resolved = {"params": {"query_tags": "a, b", "match_mode": "all", "queues": ["t1"]}, "queues": ["t2"]}
    assert id_of(query | resolved) == query["node_id"]


@pytest.mark.parametrize(
    ("sent", "taken"), [(60.5, 60), (True, 1), (False, 0), ("60", 60), ("x", None), (None, None)]
)
def test_the_interval_in_the_params_of_a_tag_query_is_taken_as_clients_do(
    sent: Any, taken: int | None
) -> None:
    fields = {"node_type": "TagQueryNode", "interval": None}
    query = made.node(**fields, params={"query_tags": ["a"], "interval": sent})
    whole = made.node(**fields, params={"query_tags": ["a"], "interval": taken})
    assert id_of(query) == id_of(whole)
