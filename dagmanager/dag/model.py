"""The nouns of a submitted DAG: frozen values, no behaviour beyond what they are.

May not live here: parsing (`decode`, `canonicalize`), hashing, anything that knows a store.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dagmanager.errors import NoticeCode


class Origin(msgspec.Struct, frozen=True):
    """Where a submission came from; part of its id (docs/semantics.md 2).

    `source` is a topic, a file path or `request`; `source_id` the topic's id or the door's request id;
    `position` an offset or a line number.
    """

    source: str
    source_id: str = ""
    partition: int = 0
    position: int = 0

    def text(self) -> str:
        """One stable line, used in the submission id."""
        return f"{self.source}\x1f{self.source_id}\x1f{self.partition}\x1f{self.position}"


class Record(msgspec.Struct, frozen=True):
    """One record of the submissions topic, before anything was parsed.

    `timestamp_ms` is the record's time (milliseconds since the epoch): deadlines replay from it.
    """

    value: bytes
    origin: Origin
    key: bytes | None = None
    timestamp_ms: int = 0


class UnresolvedContext(msgspec.Struct, frozen=True):
    """Compute context fields as a client sent them: nothing trimmed, nothing resolved."""

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
    """A warning: something that the submitter should know although nothing is refused."""

    code: NoticeCode
    message: str
    node_id: str | None = None
    details: tuple[str, ...] = ()

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

    `worlds` has one entry per world asked for, `('',)` when none was named. `form` is `diff_request`
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
    """A record of another kind on the submissions topic: skipped and counted, no dead letter."""

    kind: str


class Artifact(msgspec.Struct, frozen=True):
    """A file a node uses (M1); outside the id. `size` in bytes."""

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
    """What a DAG says, its nodes canonical, whether their ids are proven or not.

    `nodes` holds each id once, in order of first appearance, tags united; `submitted_ids` every
    compute node's id in submission order, repeats included (the checksum's input). `weight` is the
    traffic weight a VersionSentinel entry asks for (0-1), None when none does. `external` are ids that
    nodes depend on and that are not in this DAG, sorted.
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
    """A DAG whose every node is canonical; `hashing.hash_dag` proves its ids and gives a `Dag`.

    `fresh` are the positions in `nodes` that were not known by their raw bytes and must still be
    hashed; `unproven` pairs the raw bytes of new entries with their node, for the memo;
    `sentinel_positions` says where in the submitted list VersionSentinel entries stand.
    """

    fresh: tuple[int, ...] = ()
    unproven: tuple[tuple[bytes, Node], ...] = ()
    sentinel_positions: tuple[int, ...] = ()


class Dag(DagFields, frozen=True, kw_only=True):
    """A DAG whose ids are proven, with its digests (docs/semantics.md 2).

    `content_digest` covers (node_id, schema_hash, sorted tags, name) of all nodes; no label, weight
    or context. `crc32` is the contract's checksum of `submitted_ids` (docs/contract.md, Checksum).
    """

    content_digest: str
    crc32: int


class Submission(msgspec.Struct, frozen=True):
    """One submission for one world: what `lookup`, `classify` and `upsert` work on.

    `submission_id` is the submission digest joined with the origin; `at_ms` the record time; `record`
    what it came in, for the dead letter if it is refused.
    """

    strategy_id: str
    dag: Dag
    context: ComputeContext
    submission_digest: str
    submission_id: str
    at_ms: int
    dry_run: bool = False
    warnings: tuple[Notice, ...] = ()
    record: Record | None = None
