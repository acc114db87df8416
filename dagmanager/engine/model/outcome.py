"""The answer to a submission for one world: stored, so that a replay gets the same bytes.

The plan is what was intended, the outcome is what the stores confirmed. An outcome has no reasons: they may depend on
where a micro-batch ends, and an answer must not (docs/semantics.md 2). Outcomes are stored encoded, with the names and
order of their fields: a field may be added at the end with a default, and never renamed.
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from dagmanager.dag.model import Node, Notice
from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, IsolateNode, ReuseNode
from dagmanager.errors import Rejection


class BufferInstruction(msgspec.Struct, frozen=True, gc=False):
    """A node that must buffer, with the field names of the proto (docs/contract.md, gRPC).

    `interval` is in seconds; `period` and `lag` are numbers of intervals: the consumer reads `lag` of them again.
    All but `lag` are as submitted.
    """

    node_id: str
    node_type: str
    code_hash: str
    schema_hash: str
    interval: int
    period: int
    tags: tuple[str, ...]
    lag: int
    schema_compat_id: str


OutcomeItem = tuple[str, str] | BufferInstruction
Items = tuple[OutcomeItem, ...]


class ActionCounts(msgspec.Struct, frozen=True):
    """The number of nodes by action; joined nodes count as reused. The sum is the number of nodes."""

    create: int = 0
    reuse: int = 0
    buffer: int = 0
    isolate: int = 0


# The tags of `Outcome` and `_Refused` have the number of the stored form: a process that knows another form fails at
# such a row, where it could misread it otherwise.
class Outcome(msgspec.Struct, frozen=True, tag="outcome.1"):
    """The answer to an accepted submission.

    `items` are (partition key, topic) of every node in the DAG's order; nodes that buffer are among them, and in
    `buffers`, too. `version` is the version label. `safe_mode` is why the context was downgraded, else None.
    """

    strategy_id: str
    world_id: str
    submission_id: str
    submission_digest: str
    sentinel_id: str
    version: str
    crc32: int
    # Pairs, not a map: they have the order of the DAG, so that a replay gets the same chunks byte for byte.
    items: tuple[tuple[str, str], ...]
    buffers: tuple[BufferInstruction, ...] = ()
    actions: ActionCounts = ActionCounts()
    safe_mode: str | None = None
    dry_run: bool = False
    warnings: tuple[Notice, ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic of the items, once, sorted. A replay is `expired` when one of them is gone."""
        return tuple(sorted({topic for _, topic in self.items}))


class _Refused(msgspec.Struct, frozen=True, tag="rejected.1"):
    """The stored form of a refusal: `Rejection` itself has no tag that the decoder could tell it by."""

    rejection: Rejection


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Outcome | _Refused)


def sentinel_id(strategy_id: str) -> str:
    """The id of a sentinel that clients see: `<strategy_id>-sentinel` (docs/contract.md, gRPC)."""
    return f"{strategy_id}-sentinel"


def encode(answer: Outcome | Rejection) -> bytes:
    """The stored form (MessagePack). Equal answers give equal bytes, because fields have an order and maps do not occur,
    but in the details of a rejection, which keep theirs."""
    if isinstance(answer, Rejection):
        return _encoder.encode(_Refused(msgspec.structs.replace(answer, counts=msgspec.UNSET)))
    return _encoder.encode(answer)


def decode(body: bytes) -> Outcome | Rejection:
    """The answer that `encode` gave these bytes for; `msgspec.DecodeError` for others."""
    answer: Outcome | _Refused = _decoder.decode(body)
    return answer.rejection if isinstance(answer, _Refused) else answer


def outcome_digest(answer: Outcome | Rejection, items: bytes = b"") -> str:
    """`blake3:` and 64 digits over everything that the client gets, except the submission id.

    So the same answer has the same digest when it is asked for again under another submission id. `items` is
    `items_digest(answer)` when the caller has it already; hashing the items is most of the work.
    """
    if isinstance(answer, Rejection):
        return "blake3:" + blake3(encode(answer)).hexdigest()
    # Items apart: the digest of a thousand of them is kept with the cached answer, for every strategy id that shares it.
    head = msgspec.structs.replace(answer, submission_id="", items=(), buffers=())
    return "blake3:" + blake3(encode(head) + (items or items_digest(answer))).hexdigest()


def items_digest(outcome: Outcome) -> bytes:
    """BLAKE3 over items and buffer instructions; 32 bytes."""
    return blake3(_encoder.encode((outcome.items, outcome.buffers))).digest()


def buffer_instruction(node: Node, lag: int) -> BufferInstruction:
    """The instruction for one node (docs/semantics.md 3); `lag` is a number of intervals."""
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
    """The number of actions of each kind."""
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
