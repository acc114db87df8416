"""What a submission was answered for one world: one value, every door, byte for byte on replay.

A plan is an intention; the outcome is what the stores answered. It holds no plan reasons, because
those may depend on batch edges while an answer may not (docs/semantics.md 2).
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from dagmanager.dag.model import Node, Notice
from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, IsolateNode, ReuseNode
from dagmanager.errors import Rejection


class BufferInstruction(msgspec.Struct, frozen=True, gc=False):
    """One node that must buffer, by the field names of the proto (docs/contract.md, gRPC)."""

    node_id: str
    node_type: str
    code_hash: str
    schema_hash: str
    interval: int
    period: int
    tags: tuple[str, ...]
    lag: int
    schema_compat_id: str


Item = tuple[str, str] | BufferInstruction
Items = tuple[Item, ...]


class ActionCounts(msgspec.Struct, frozen=True):
    """How many nodes were created, reused (joined ones included), buffered, isolated."""

    create: int = 0
    reuse: int = 0
    buffer: int = 0
    isolate: int = 0


class Outcome(msgspec.Struct, frozen=True, tag="outcome.1"):
    """The answer. `items` are (partition key, topic) in the DAG's order; buffered nodes are among them too.

    `sentinel_id` is `<strategy_id>-sentinel`; `version` the label; `safe_mode` None or why.
    """

    strategy_id: str
    world_id: str
    submission_id: str
    submission_digest: str
    sentinel_id: str
    version: str
    crc32: int
    items: tuple[tuple[str, str], ...]
    buffers: tuple[BufferInstruction, ...] = ()
    actions: ActionCounts = ActionCounts()
    safe_mode: str | None = None
    dry_run: bool = False
    warnings: tuple[Notice, ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic named, once, sorted: what a replay checks (`expired`)."""
        return tuple(sorted({topic for _, topic in self.items}))


class _Refused(msgspec.Struct, frozen=True, tag="rejected.1"):
    """A stored refusal: `Rejection` itself carries no tag."""

    rejection: Rejection


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Outcome | _Refused)


def sentinel_id(strategy_id: str) -> str:
    """The id that clients see (docs/contract.md, gRPC)."""
    return f"{strategy_id}-sentinel"


def encode(answer: Outcome | Rejection) -> bytes:
    """The stored form; equal answers give equal bytes (fields in declared order, no maps but details)."""
    return _encoder.encode(_Refused(answer) if isinstance(answer, Rejection) else answer)


def decode(body: bytes) -> Outcome | Rejection:
    """What `encode` stored."""
    answer: Outcome | _Refused = _decoder.decode(body)
    return answer.rejection if isinstance(answer, _Refused) else answer


def outcome_digest(answer: Outcome | Rejection, items: bytes = b"") -> str:
    """BLAKE3 over all that a client is told, but for the submission id, which is an address.

    So the same answer through another door, or to a replay, has the same digest. `items` is its `items_digest`
    where that is known: it stands for the items, behind all else.
    """
    if isinstance(answer, Rejection):
        return "blake3:" + blake3(encode(answer)).hexdigest()
    head = msgspec.structs.replace(answer, submission_id="", items=(), buffers=())
    return "blake3:" + blake3(encode(head) + (items or items_digest(answer))).hexdigest()


def items_digest(outcome: Outcome) -> bytes:
    """BLAKE3 over queues and buffer instructions, 32 bytes."""
    return blake3(_encoder.encode((outcome.items, outcome.buffers))).digest()


def buffer_instruction(node: Node, lag: int) -> BufferInstruction:
    """The instruction for one node: its fields as submitted, `lag` from the plan (docs/semantics.md 3)."""
    return BufferInstruction(
        node.node_id,
        node.node_type,
        node.code_hash,
        node.schema_hash,
        node.interval,
        node.period,
        node.tags,
        lag,
        node.schema_compat_id,
    )


def count_actions(actions: tuple[Action, ...]) -> ActionCounts:
    """Counts by action; `joined` is a reuse."""
    create = reuse = buffer = isolate = 0
    for action in actions:
        match action:
            case CreateNode():
                create += 1
            case ReuseNode():
                reuse += 1
            case BufferNode():
                buffer += 1
            case IsolateNode():
                isolate += 1
    return ActionCounts(create, reuse, buffer, isolate)
