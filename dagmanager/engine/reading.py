"""From raw records to submissions: decode, canonicalize, hash; one value per record that never raises.

Holds this worker's bounded caches; they change how fast an answer comes, never what it is.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.decode import decode
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Foreign, Record, Submission
from dagmanager.dag.node_memo import NodeMemo
from dagmanager.dag.submission import submissions
from dagmanager.engine.journey import Canonicalized, Refused
from dagmanager.errors import Rejection


class ReadOptions(msgspec.Struct, frozen=True):
    """How submissions are read. `dry_run_ids` are strategy ids that are planned, never written."""

    limits: Limits = Limits()
    namespaces: bool = True
    lineage_fields: tuple[str, ...] = ("meta.strategy_name", "meta.name")
    dry_run_ids: frozenset[str] = frozenset({"dryrun"})


class Reader:
    """The pure steps with their memory; one per worker."""

    def __init__(self, options: ReadOptions) -> None:
        """Start with empty caches."""
        self.options = options
        self.memo = NodeMemo()
        self.foreign: Counter[str] = Counter()

    def canonicalize(self, record: Record, *, repeat: bool = False) -> Canonicalized | Refused | None:
        """Bytes to a canonical DAG; None for a record of another kind (counted in `foreign`)."""
        envelope = decode(record, self.options.limits)
        if isinstance(envelope, Foreign):
            self.foreign[envelope.kind] += 1
            return None
        if isinstance(envelope, Rejection):
            return Refused(record, strategy_of(record), envelope)
        dag = canonicalize(envelope, self.memo, self.options.limits, self.options.lineage_fields)
        if isinstance(dag, Rejection):
            return Refused(record, envelope.strategy_id, dag)
        return Canonicalized(record, envelope, dag)

    def hash(self, item: Canonicalized | Refused) -> tuple[Submission | Refused, ...]:
        """Prove the ids; one submission per world."""
        if isinstance(item, Refused):
            return (item,)
        envelope, record = item.envelope, item.record
        hashed = hash_dag(item.dag, self.memo, envelope.node_ids_crc32)
        if isinstance(hashed, Rejection):
            return (Refused(record, envelope.strategy_id, hashed),)
        found = submissions(
            envelope,
            hashed,
            record.origin,
            record.timestamp_ms,
            namespaces=self.options.namespaces,
            dry_run_ids=self.options.dry_run_ids,
        )
        return tuple(
            Refused(record, envelope.strategy_id, one, world)
            if isinstance(one, Rejection)
            else msgspec.structs.replace(one, record=record)
            for one, world in zip(found, envelope.worlds, strict=True)
        )

    def read(self, record: Record) -> tuple[Submission | Refused, ...]:
        """Every pure step in order, for doors that hold no stream."""
        item = self.canonicalize(record)
        return () if item is None else self.hash(item)


def strategy_of(record: Record) -> str:
    """Who to answer when the record itself cannot be read: its key, else nobody (`''`)."""
    key = (record.key or b"").decode("utf-8", "replace")
    return key.removeprefix("ingest:")
