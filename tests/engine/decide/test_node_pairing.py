"""Pairing finds the predecessor of a changed node: by id, then name and type, then position."""

from __future__ import annotations

import pytest

from dagmanager.engine.decide.node_pairing import PairingNode, pair


def node(node_id: str, name: str = "", node_type: str = "Node", code_hash: str = "c") -> PairingNode:
    return PairingNode(node_id, name, node_type, code_hash)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param([node("a")], [node("a")], {"a": "a"}, id="the same id"),
        pytest.param([node("b", "rsi")], [node("a", "rsi")], {"b": "a"}, id="the same name and type"),
        pytest.param(
            [node("b", "rsi", code_hash="d")], [node("a", "rsi")], {"b": "a"}, id="a name outweighs the code"
        ),
        pytest.param(
            [node("b", "rsi", "Other", "d")], [node("a", "rsi")], {}, id="another type is another node"
        ),
        pytest.param([node("b", "new")], [node("a", "old")], {"b": "a"}, id="renamed: the code tells"),
        pytest.param(
            [node("c"), node("d")],
            [node("a"), node("b")],
            {"c": "a", "d": "b"},
            id="by position among equals",
        ),
        pytest.param(
            [node("c", "ema"), node("d", "ema")],
            [node("a", "ema"), node("b", "ema")],
            {"c": "a", "d": "b"},
            id="equal names in turn",
        ),
        pytest.param([node("b"), node("c")], [node("b"), node("a")], {"b": "b", "c": "a"}, id="ids first"),
        pytest.param([node("b", code_hash="x")], [node("a")], {}, id="nothing in common: added"),
        pytest.param([node("b"), node("c")], [node("a")], {"b": "a"}, id="more new ones than old"),
    ],
)
def test_a_node_is_paired_with_what_it_replaces(
    new: list[PairingNode], old: list[PairingNode], expected: dict[str, str]
) -> None:
    assert pair(new, old) == expected
