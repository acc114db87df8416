from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node
from dagmanager.dag.recompute_ids import recompute_ids
from dagmanager.errors import ErrorCode, Rejection

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.json"))


def node(name: str, *inputs: str, **more: Any) -> dict[str, Any]:
    spec = {"node_type": "N", "code_hash": name, "schema_compat_id": "s", "name": name, "node_id": name}
    return {**spec, "inputs": list(inputs), **more}


def rejected(nodes: list[Any]) -> Rejection:
    found = recompute_ids(nodes)
    assert isinstance(found, Rejection)
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda each: each.stem)
def test_the_ids_that_the_sdk_computed_stay(path: Path) -> None:
    nodes = json.loads(path.read_text())["nodes"]
    before = copy.deepcopy(nodes)
    assert recompute_ids(nodes) == {each["node_id"]: each["node_id"] for each in before}
    assert nodes == before


def test_a_changed_node_gives_new_ids_to_all_that_depend_on_it() -> None:
    nodes = [node("mean", "price"), node("price"), node("other")]
    first = recompute_ids(nodes)
    nodes[1]["period"] = 3
    second = recompute_ids(nodes)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert [former for former, now in second.items() if former == now] == [first["other"]]
    assert nodes[0]["inputs"] == [second[first["price"]]] == [nodes[1]["node_id"]]


def test_every_id_is_that_of_its_spec_in_any_order_of_the_nodes() -> None:
    nodes = [node("c", "b", "a"), node("b", "a"), node("a")]
    assert isinstance(recompute_ids(nodes), dict)
    for each in nodes:
        found = parse_node_json(json.dumps(each).encode())
        assert isinstance(found, Node)
        assert each["node_id"] == found.node_id


def test_dependencies_outside_and_sentinels_stay() -> None:
    outside = "blake3:" + "0" * 64
    sentinel = {"node_type": "VersionSentinel", "node_id": "price", "version": "v2"}
    nodes = [node("mean", "price", outside), node("price"), dict(sentinel)]
    assert isinstance(recompute_ids(nodes), dict)
    assert nodes[0]["inputs"] == [nodes[1]["node_id"], outside]
    assert nodes[2] == sentinel


def test_a_node_without_an_id_gets_one() -> None:
    nodes = [node("mean", "price"), node("price")]
    del nodes[0]["node_id"]
    assert isinstance(recompute_ids(nodes), dict)
    assert nodes[0]["node_id"].startswith("blake3:")


def test_the_same_node_twice_stays_the_same() -> None:
    nodes = [node("price"), node("price")]
    assert isinstance(recompute_ids(nodes), dict)
    assert nodes[0]["node_id"] == nodes[1]["node_id"]


def test_two_specs_under_one_former_id_are_refused() -> None:
    found = rejected([node("price"), node("price", period=3)])
    assert (found.code, found.field) == (ErrorCode.CONFLICTING_NODE, "/nodes/1/node_id")


def test_a_cycle_is_named_in_the_order_of_inputs() -> None:
    found = rejected([node("a", "b"), node("b", "c"), node("c", "a")])
    assert found.code is ErrorCode.DEPENDENCY_CYCLE
    _, _, names = found.message.partition(": ")
    assert names in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")
    assert rejected([node("a", "a")]).message == "a node depends on itself: a -> a"


def test_an_invalid_node_is_named_by_its_place() -> None:
    found = rejected([node("a"), node("b", interval="soon")])
    assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, "/nodes/1/interval")


def test_a_reference_to_a_text_that_no_node_has_is_refused_by_its_place() -> None:
    assert rejected([node("mean", "prise"), node("price")]).field == "/nodes/0/inputs/0"


def test_what_is_no_object_is_left_to_the_reader() -> None:
    assert recompute_ids([3, None]) == {}


def test_a_chain_of_ten_thousand_nodes_needs_no_recursion() -> None:
    nodes = [node("n0"), *(node(f"n{number}", f"n{number - 1}") for number in range(1, 10_000))]
    found = recompute_ids(nodes)
    assert isinstance(found, dict)
    assert len(found) == 10_000
