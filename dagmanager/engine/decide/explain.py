"""A plan as rows for people and tools: the same list of actions that `upsert` executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from blake3 import blake3
from msgspec import msgpack

from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, IsolateNode, Plan, ReuseNode
from dagmanager.engine.model.rows import Binding

_WORDS: Final[dict[type, str]] = {
    CreateNode: "create",
    ReuseNode: "reuse",
    BufferNode: "buffer",
    IsolateNode: "isolate",
}


def action_name(action: Action) -> str:
    """`create`, `reuse`, `buffer` or `isolate`, as in the answer's counts."""
    return _WORDS[type(action)]


def explain(plan: Plan, topics: Mapping[Binding, str]) -> list[dict[str, Any]]:
    """One row per action: `{node_id, name, action, reason, topic}`, in the DAG's order."""
    return [
        {
            "node_id": action.node.node_id,
            "name": action.node.name,
            "action": action_name(action),
            "reason": action.reason,
            "topic": topics.get(action.binding) or action.topic,
        }
        for action in plan.actions
    ]


def plan_digest(rows: list[dict[str, Any]]) -> str:
    """`blake3:` and 64 digits: plans with the same digest do the same to the same topics."""
    actions = [(row["node_id"], row["action"], row["reason"], row["topic"]) for row in rows]
    return "blake3:" + blake3(msgpack.encode(actions)).hexdigest()
