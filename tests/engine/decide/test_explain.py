from __future__ import annotations

from typing import Any

import pytest
from blake3 import blake3
from msgspec import msgpack

from dagmanager.dag.model import Node
from dagmanager.engine.decide.explain import action_name, explain, plan_digest
from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, IsolateNode, Plan, Reason, ReuseNode
from dagmanager.engine.model.rows import Binding


def node(name: str) -> Node:
    return Node(f"blake3:{name}", "Indicator", 60, 20, "null", (), "compat", "code", b"", "schema", (), name)


def binding(name: str) -> Binding:
    return Binding(f"blake3:{name}", "w1.live")


ACTIONS: tuple[tuple[Action, str, str, str], ...] = (
    (CreateNode(node("a"), binding("a"), Reason.NEW_NODE), "create", "new_node", "planned.a"),
    (ReuseNode(node("b"), binding("b"), Reason.SAME_SPEC, "topic.b"), "reuse", "same_spec", "topic.b"),
    (
        BufferNode(node("c"), binding("c"), Reason.SCHEMA_CHANGED, "topic.c", 20),
        "buffer",
        "schema_changed",
        "topic.c",
    ),
    (IsolateNode(node("d"), binding("d"), "safe_mode:why", "topic.d"), "isolate", "safe_mode:why", "topic.d"),
)
ROW = {"node_id": "n", "name": "name", "action": "create", "reason": "new_node", "topic": "t"}


def test_a_plan_is_one_row_per_action_in_its_order() -> None:
    plan = Plan(tuple(action for action, *_ in ACTIONS), plain=False)
    assert explain(plan, {binding("a"): "planned.a"}) == [
        {
            "node_id": action.node.node_id,
            "name": action.node.name,
            "action": word,
            "reason": reason,
            "topic": topic,
        }
        for action, word, reason, topic in ACTIONS
    ]
    assert [action_name(action) for action in plan.actions] == ["create", "reuse", "buffer", "isolate"]


def test_a_planned_topic_replaces_that_of_the_action() -> None:
    plan = Plan((ACTIONS[1][0],), plain=True)
    assert [row["topic"] for row in explain(plan, {binding("b"): "another"})] == ["another"]


def test_the_digest_of_a_plan_is_that_of_its_actions_in_order() -> None:
    packed = msgpack.encode([("n", "create", "new_node", "t"), ("m", "create", "new_node", "t")])
    assert plan_digest([ROW, ROW | {"node_id": "m"}]) == f"blake3:{blake3(packed).hexdigest()}"


@pytest.mark.parametrize(
    "changed", [{"node_id": "m"}, {"action": "reuse"}, {"reason": "other"}, {"topic": "u"}]
)
def test_the_digest_covers_what_is_done_and_to_which_topic(changed: dict[str, Any]) -> None:
    assert plan_digest([ROW | changed]) != plan_digest([ROW])
    assert plan_digest([ROW | {"name": "another"}]) == plan_digest([ROW])
