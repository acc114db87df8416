"""The plan: one immutable list of typed actions, read by `upsert` and by `explain` alike."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from dagmanager.dag.model import Node, Notice
from dagmanager.engine.model.rows import Binding, QueueRow


class Reason(StrEnum):
    """Why an action was chosen (docs/semantics.md 3); safe mode adds `safe_mode:<why>`."""

    NEW_NODE = "new_node"
    NEW_BINDING = "new_binding"
    RESURRECTED = "resurrected"
    JOINED = "joined"
    SAME_SPEC = "same_spec"
    STILL_BUFFERING = "still_buffering"
    SCHEMA_CHANGED = "schema_changed"
    SCHEMA_OLDER = "schema_older"


class SchemaEffect(StrEnum):
    """What an action does to the node's stored schema."""

    NONE = "none"
    ADOPT = "adopt"
    BECOMES_CURRENT = "becomes_current"


class CreateNode(msgspec.Struct, frozen=True, gc=False):
    """A new node or a new queue for a known one. `incarnation` > 1 when resurrected."""

    node: Node
    binding: Binding
    reason: str
    incarnation: int = 1
    known: bool = False
    predecessor: QueueRow | None = None
    topic: str = ""


class ReuseNode(msgspec.Struct, frozen=True, gc=False):
    """The queue is there: join it."""

    node: Node
    binding: Binding
    reason: str
    topic: str
    schema: SchemaEffect = SchemaEffect.NONE


class BufferNode(msgspec.Struct, frozen=True, gc=False):
    """The queue is there, the schema is not the same: join it and buffer. `lag` = period."""

    node: Node
    binding: Binding
    reason: str
    topic: str
    lag: int
    schema: SchemaEffect = SchemaEffect.NONE


class IsolateNode(msgspec.Struct, frozen=True, gc=False):
    """Safe mode: a topic of its own. `exists` when a repeat found it alive."""

    node: Node
    binding: Binding
    reason: str
    topic: str
    incarnation: int = 1
    exists: bool = False


Action = CreateNode | ReuseNode | BufferNode | IsolateNode


class Plan(msgspec.Struct, frozen=True):
    """What one submission intends; the outcome is what the stores answered.

    `actions` follow the order of the DAG's nodes. `plain` is true when every action is `same_spec`
    without an effect: nothing to store for the nodes.
    """

    actions: tuple[Action, ...]
    plain: bool
    warnings: tuple[Notice, ...] = ()
