"""The types of a submitted DAG: frozen values without behaviour.

No parsing (`decode`, `canonicalize`), no hashing, nothing that knows a store.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dagmanager.echo import printable
from dagmanager.errors import NoticeCode


class Origin(msgspec.Struct, frozen=True):
    """Where a submission came from; part of its id (docs/semantics.md 2).

    `source` is a topic, a file path or `request`; `source_id` the id of the topic or of the request; `position` an
    offset or a line number.
    """

    source: str
    source_id: str = ""
    partition: int = 0
    position: int = 0

    def text(self) -> str:
        """One line of text that is stable over releases."""
        return f"{self.source}\x1f{self.source_id}\x1f{self.partition}\x1f{self.position}"


class WholeValue(msgspec.Struct, frozen=True):
    """The bytes that a cut value was the beginning of: their digest (`blake3:` and 64 digits) and their number."""

    digest: str
    length: int


class Record(msgspec.Struct, frozen=True):
    """One record of the submissions topic, not parsed yet.

    `timestamp_ms` is the record's time in milliseconds since the epoch: a replay decides by it, not by the clock.
    `whole` is set when the source kept only the beginning of a value that is over the size limit (docs/semantics.md 9).
    """

    value: bytes
    origin: Origin
    key: bytes | None = None
    timestamp_ms: int = 0
    whole: WholeValue | None = None


class UnresolvedContext(msgspec.Struct, frozen=True):
    """Compute context fields as a client sent them: not trimmed, no defaults, no aliases resolved."""

    world_id: str | None = None
    execution_domain: str | None = None
    as_of: str | None = None
    partition: str | None = None
    dataset_fingerprint: str | None = None
    safe_mode: bool = False
    downgrade_reason: str | None = None


class ComputeContext(msgspec.Struct, frozen=True):
    """A context resolved for one world (docs/semantics.md 5; docs/contract.md, ComputeKey).

    `namespace` is `''` for base names; `safe_mode` is None or why the request was downgraded.
    """

    world_id: str = ""
    execution_domain: str = "live"
    as_of: str = ""
    partition: str = ""
    dataset_fingerprint: str = ""
    namespace: str = ""
    safe_mode: str | None = None


class Notice(msgspec.Struct, frozen=True):
    """A warning: something that the submitter should know although nothing is refused.

    Texts have escapes instead of control characters, as those of a refusal have (`dagmanager.echo`).
    """

    code: NoticeCode
    message: str
    node_id: str | None = None
    details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Escape what is not printable; `dagmanager.engine.wire.chunks` bounds the size of all warnings together."""
        if not self.message.isprintable():
            msgspec.structs.force_setattr(self, "message", printable(self.message))
        if self.node_id is not None and not self.node_id.isprintable():
            msgspec.structs.force_setattr(self, "node_id", printable(self.node_id))
        if self.details:
            msgspec.structs.force_setattr(self, "details", tuple(map(printable, self.details)))

    def as_json(self) -> dict[str, Any]:
        """The wire form on chunk 0."""
        return {
            "code": self.code.value,
            "message": self.message,
            "node_id": self.node_id,
            "details": list(self.details),
        }


class Envelope(msgspec.Struct, frozen=True):
    """A submission taken out of its wire form (docs/contract.md, Submissions); the DAG is still bytes.

    `worlds` has one entry per world, `('',)` if none was named. `form` is `diff_request`
    or `commit_log`. `node_ids_crc32` is the client's own checksum, when sent.
    """

    strategy_id: str
    dag: bytes
    form: str
    context: UnresolvedContext
    worlds: tuple[str, ...] = ("",)
    node_ids_crc32: int | None = None
    warnings: tuple[Notice, ...] = ()


class Foreign(msgspec.Struct, frozen=True):
    """A record of another kind on the submissions topic: skipped and counted, without a dead letter."""

    kind: str


class Artifact(msgspec.Struct, frozen=True):
    """A file that a node uses (docs/requirements.md M1); not part of its id. `size` in bytes."""

    path: str
    checksum: str
    size: int
    framework: str | None = None
    dtype: str | None = None


class TagQuery(msgspec.Struct, frozen=True):
    """The normalised query of a TagQueryNode: `tags` sorted, `match_mode` any|all, interval in seconds."""

    tags: tuple[str, ...]
    match_mode: str
    interval: int | None


class Node(msgspec.Struct, frozen=True, gc=False):
    """A canonical compute node.

    `preimage` is the exact byte string that BLAKE3 sees (docs/contract.md, NodeID); `node_id` the id as
    submitted, equal to the digest once hashed (or its XOF form: `collision` > 0). `interval` in
    seconds; `tags` sorted, without repeats; `dependencies` sorted, as in the preimage.
    """

    node_id: str
    node_type: str
    interval: int
    period: int
    params_canon: str
    dependencies: tuple[str, ...]
    schema_compat_id: str
    code_hash: str
    preimage: bytes
    schema_hash: str = ""
    tags: tuple[str, ...] = ()
    name: str = ""
    global_: bool = False
    tag_query: TagQuery | None = None
    compute_key: str = ""
    artifacts: tuple[Artifact, ...] = ()
    collision: int = 0


class DagFields(msgspec.Struct, frozen=True):
    """The content of a DAG with canonical nodes, before and after their ids are proven.

    `nodes` has each id once, in order of first appearance, tags merged; `submitted_ids` every compute node's id in
    submission order with repeats, as the checksum needs them. `weight` is the traffic weight that a VersionSentinel
    entry asks for (0-1), None if none does. `external` are ids that nodes depend on and that are not in this DAG,
    sorted.
    """

    nodes: tuple[Node, ...]
    submitted_ids: tuple[str, ...]
    version: str
    weight: float | None
    lineage: str
    commit_hash: str
    meta_namespace: str | None
    meta_domain: str | None
    dag_context: UnresolvedContext
    external: tuple[str, ...] = ()
    warnings: tuple[Notice, ...] = ()


class CanonicalDag(DagFields, frozen=True):
    """A DAG whose ids are not proven yet: `hashing.hash_dag` makes a `Dag` of it.

    `fresh` are the positions in `nodes` that were not in the memo and must be hashed; `unproven` pairs the raw bytes
    of new entries with their node, for the memo; `sentinel_positions` are those of VersionSentinel entries in the
    submitted list.
    """

    fresh: tuple[int, ...] = ()
    unproven: tuple[tuple[bytes, Node], ...] = ()
    sentinel_positions: tuple[int, ...] = ()


class Dag(DagFields, frozen=True, kw_only=True):
    """A DAG whose ids are proven, with its digests (docs/semantics.md 2).

    `content_digest` covers (node_id, schema_hash, sorted tags, name) of all nodes; no label, weight
    or context. `attributes` is a digest of the artifacts and `global` flags, '' if no node has any: no other digest
    covers them. `crc32` is the contract's checksum of `submitted_ids` (docs/contract.md, Checksum).
    """

    content_digest: str
    crc32: int
    attributes: str = ""


class Submission(msgspec.Struct, frozen=True):
    """One submission for one world: what `lookup`, `classify` and `upsert` work on.

    `submission_id` is the digest of the submission digest and the origin; `at_ms` the record's time in milliseconds;
    `record` the record it came in, for the dead letter if it is refused.
    """

    strategy_id: str
    dag: Dag
    context: ComputeContext
    submission_digest: str
    submission_id: str
    at_ms: int
    record: Record
    dry_run: bool = False
    warnings: tuple[Notice, ...] = ()
