"""The plan of one submission: an immutable list of typed actions. `upsert` executes it and `explain` prints it."""

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
    """What an action does to the schema that is stored with the node."""

    NONE = "none"
    ADOPT = "adopt"
    """The node had no schema yet."""
    BECOMES_CURRENT = "becomes_current"
    """It replaces the current schema; consumers buffer for a while."""


# `gc=False` on actions: a DAG of 20,000 nodes makes as many of them, which every run of the garbage collector would
# visit. They refer only to values that never refer back, so that no cycle can be left.
class CreateNode(msgspec.Struct, frozen=True, gc=False):
    """A new queue, for a new node or for one that is `known`.

    `incarnation` counts the queues of the binding from 1; `predecessor` is the tombstone that it follows. `topic` is
    set when an earlier attempt of the same claim has chosen the name already.
    """

    node: Node
    binding: Binding
    reason: str
    incarnation: int = 1
    known: bool = False
    predecessor: QueueRow | None = None
    topic: str = ""


class ReuseNode(msgspec.Struct, frozen=True, gc=False):
    """The binding has a queue: use it. With the reason `joined` a rival is still provisioning it.

    `merges`: the node comes with artifacts or a `global` flag that the graph does not have yet.
    """

    node: Node
    binding: Binding
    reason: str
    topic: str
    schema: SchemaEffect = SchemaEffect.NONE
    merges: bool = False


class BufferNode(msgspec.Struct, frozen=True, gc=False):
    """The binding has a queue, but the schema changed lately: use it and read `lag` past intervals again.

    `lag` is the node's `period`, a number of intervals (0 or more). `merges` as in `ReuseNode`.
    """

    node: Node
    binding: Binding
    reason: str
    topic: str
    lag: int
    schema: SchemaEffect = SchemaEffect.NONE
    merges: bool = False


class IsolateNode(msgspec.Struct, frozen=True, gc=False):
    """Safe mode: a queue that no other submission shares (docs/semantics.md 5).

    `exists`: an earlier submission of the same content in the same context created it. `topic` is '' for a new one.
    """

    node: Node
    binding: Binding
    reason: str
    topic: str
    incarnation: int = 1
    exists: bool = False


Action = CreateNode | ReuseNode | BufferNode | IsolateNode


class Plan(msgspec.Struct, frozen=True):
    """What one submission intends to do; the `Outcome` is what the stores confirmed.

    `actions` are in the order of the DAG's nodes, one for each. `plain`: every action is a reuse with the reason
    `same_spec` and no effect on a schema or on attributes, so that nothing is written for the nodes.
    """

    actions: tuple[Action, ...]
    # Known while the actions are made, and true of most submissions: otherwise each step would look at all actions again.
    plain: bool
    warnings: tuple[Notice, ...] = ()
