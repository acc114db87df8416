"""From raw records to submissions: decode, canonicalize, hash. Bad input is a value (`Refused`), never an exception.

It has bounded caches, one set per thread. They depend on the bytes alone, so they change how fast an answer is given,
never the answer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from blake3 import blake3

from dagmanager.bounded_cache import BoundedCache
from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.hashing import hash_dag
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Dag, Envelope, Foreign, Record, Submission
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.dag.record.decode import decode
from dagmanager.dag.record.record_key import strategy_of
from dagmanager.dag.submission import submissions
from dagmanager.engine.context_defaults import ContextDefaults, filled
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.stages import Canonicalized, Refused
from dagmanager.errors import Rejection

# Digest and key of a record: the warnings of an envelope depend on the key, too (`unkeyed_record`).
Read = tuple[bytes, bytes | None]

CACHED_NODES: Final = 50_000
CACHED_RECORDS: Final = 1_000
DIGEST_BYTES: Final = 16
# Kinds of other records that are counted apart: a record may name any kind.
KINDS_MAX: Final = 100


class ReadOptions(msgspec.Struct, frozen=True):
    """How submissions are read.

    `namespaces`: the setting `enable_topic_namespace`. `lineage_fields`: where a DAG names its lineage, the first one that
    is present. `dry_run_ids`: strategy ids that are planned, never written.
    """

    limits: Limits = Limits()
    namespaces: bool = True
    lineage_fields: tuple[str, ...] = ("meta.strategy_name", "meta.name")
    dry_run_ids: frozenset[str] = frozenset({"dryrun"})
    context_defaults: ContextDefaults = ContextDefaults()


class Digested(Canonicalized, frozen=True):
    """A `Canonicalized` with its keys in the caches, or `b""` for what need not be cached.

    `digest` is that of the record's bytes, `dag_digest` that of the DAG's own bytes, set when these were parsed.
    """

    digest: bytes = b""
    dag_digest: bytes = b""


class _ThreadCaches(threading.local):
    """Each thread's own caches: workers of one process share a flow and so a reader."""

    def __init__(self) -> None:
        self.memo = NodeMemo()
        # Whole records, by digest and key; and DAGs, which the Gateway sends again under new strategy ids.
        self.records: BoundedCache[Read, tuple[Envelope, Dag]] = BoundedCache(CACHED_NODES, CACHED_RECORDS)
        self.dags: BoundedCache[bytes, Dag] = BoundedCache(CACHED_NODES, CACHED_RECORDS)


class Reader:
    """The pure steps with their caches. Safe between threads: each has its own caches. Never blocks for a store."""

    def __init__(
        self,
        options: ReadOptions,
        observer: Observer | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start with empty caches. `timer` gives seconds, for the observer alone."""
        self.options = options
        self.observer = observer or Observer()
        self._timer = timer
        self._caches = _ThreadCaches()
        self._foreign: Counter[str] = Counter()
        self._isolated = 0
        self._counting = threading.Lock()

    @property
    def foreign(self) -> Counter[str]:
        """How many records of other kinds were skipped so far, by kind; `other` for those after the first `KINDS_MAX`."""
        with self._counting:
            return Counter(self._foreign)

    @property
    def isolated(self) -> int:
        """How many submissions were read in safe mode so far."""
        with self._counting:
            return self._isolated

    def canonicalize(self, record: Record) -> Canonicalized | Refused | None:
        """Bytes to a canonical DAG; None for a record of another kind (counted in `foreign`).

        Bytes that were proven before under the same key are not read again.
        """
        caches, options = self._caches, self.options
        digest = blake3(record.value).digest(DIGEST_BYTES)
        kept = caches.records.get((digest, record.key))
        if kept is not None:
            envelope, proven = kept
            return Digested(record, envelope, proven, digest)
        envelope_or = decode(record, options.limits)
        if isinstance(envelope_or, Foreign):
            with self._counting:
                counted = envelope_or.kind in self._foreign or len(self._foreign) < KINDS_MAX
                self._foreign[envelope_or.kind if counted else "other"] += 1
            self.observer.foreign(envelope_or.kind)
            return None
        if isinstance(envelope_or, Rejection):
            return self._refused(record, strategy_of(record), envelope_or)
        dag_digest = blake3(envelope_or.dag).digest(DIGEST_BYTES)
        known = caches.dags.get(dag_digest)
        if known is not None and envelope_or.node_ids_crc32 in (None, known.crc32):
            return Digested(record, envelope_or, known, digest)
        dag = canonicalize(envelope_or, caches.memo, options.limits, options.lineage_fields)
        if isinstance(dag, Rejection):
            return self._refused(record, envelope_or.strategy_id, dag, envelope_or.worlds)
        return Digested(record, envelope_or, dag, digest, dag_digest=dag_digest)

    def hash(self, item: Canonicalized) -> tuple[Submission | Refused, ...]:
        """Prove the node ids, and resolve the context of each world: one submission or refusal per world, in their order."""
        if self.options.context_defaults != ContextDefaults():
            item = filled(item, self.options.context_defaults)
        envelope, record = item.envelope, item.record
        began = self._timer()
        dag = self._proven(item)
        self.observer.hashed((self._timer() - began) * 1_000)
        if isinstance(dag, Rejection):
            return (self._refused(record, envelope.strategy_id, dag, envelope.worlds),)
        found = submissions(
            envelope,
            dag,
            record,
            namespaces=self.options.namespaces,
            dry_run_ids=self.options.dry_run_ids,
        )
        isolated = sum(isinstance(one, Submission) and one.context.safe_mode is not None for one in found)
        with self._counting:
            self._isolated += isolated
        return tuple(
            self._refused(record, envelope.strategy_id, one, (world,)) if isinstance(one, Rejection) else one
            for one, world in zip(found, envelope.worlds, strict=True)
        )

    def _refused(
        self, record: Record, strategy_id: str, why: Rejection, worlds: tuple[str, ...] = ("",)
    ) -> Refused:
        return self.noted(Refused(record, strategy_id, why, worlds))

    def noted(self, refused: Refused) -> Refused:
        """A refusal that the engine does not see: reported to the observer, and marked when it answers a dry run."""
        self.observer.refused(refused.rejection)
        self.observer.answered(refused.rejection.code.value)
        return msgspec.structs.replace(refused, dry_run=refused.strategy_id in self.options.dry_run_ids)

    def read(self, record: Record) -> tuple[Submission | Refused, ...]:
        """Canonicalize and hash, for callers without a stream; empty for a record of another kind."""
        item = self.canonicalize(record)
        if isinstance(item, Canonicalized):
            return self.hash(item)
        return () if item is None else (item,)

    def _proven(self, item: Canonicalized) -> Dag | Rejection:
        dag = item.dag
        if not isinstance(dag, Dag):
            proven = hash_dag(dag, self._caches.memo, item.envelope.node_ids_crc32)
            if isinstance(proven, Rejection):
                return proven
            dag = proven
        if isinstance(item, Digested):
            self._keep(item, dag)
        return dag

    def _keep(self, item: Digested, dag: Dag) -> None:
        caches, envelope, nodes = self._caches, item.envelope, len(dag.nodes)
        if item.digest:
            read = msgspec.structs.replace(envelope, dag=b""), dag
            caches.records.put((item.digest, item.record.key), read, nodes)
        # A lineage that equals the strategy id may come from there, not from the DAG's bytes.
        if item.dag_digest and dag.lineage != envelope.strategy_id:
            caches.dags.put(item.dag_digest, dag, nodes)
