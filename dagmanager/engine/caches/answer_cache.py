"""Answers that can be given again without reading every node from the graph (docs/semantics.md 7, epoch).

Only answers are cached that reuse every node as it is and carry no warning: no deadline can change them, and every
write that would change them raises the epoch or adds to a holder counter. Two kinds of entry:

- **Resend**: a strategy id sent the same bytes before. Valid while the epoch and the counter of that strategy id
  have not changed. Nothing is written for it.
- **Version**: a version in force, for a strategy id that never asked for it. Valid while the epoch has not changed. The new
  holder must be written; `HolderInsert` carries what the answer was decided from, and the store compares it before
  it writes (compare-and-set). So this entry needs no counter: a stale one fails the comparison.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.bounded_cache import BoundedCache
from dagmanager.dag.model import ComputeContext, Submission
from dagmanager.engine.caches.holder_counters import counter_of
from dagmanager.engine.decide.submission_keys import claim_id, holder_key, lineage_key, record_place
from dagmanager.engine.decide.version_order import newest_ask
from dagmanager.engine.model.graph_port import EpochReading, HolderInsert, Known
from dagmanager.engine.model.outcome import Outcome, sentinel_id
from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.engine.model.version_change import AddHolder, Resend, VersionChange
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelRow,
    SentinelState,
)
from dagmanager.errors import Rejection

# Some 200 bytes an item: 100 MB at most.
ITEMS_MAX: Final = 500_000
ANSWERS_MAX: Final = 20_000

ResendKey = tuple[HolderKey, LineageKey, str, str]
VersionKey = tuple[str, str, str, str, ComputeContext]


class CacheEntry(msgspec.Struct, frozen=True):
    """An answer and what it was decided from.

    `counter` is the value of the strategy id's holder counter (resend entries). `sentinels` are all of the lineage
    and `sentinel` is the one that a new holder gets (version entries; None for resends); `newest` is the place of the
    newest ask of the lineage.
    """

    outcome: Outcome
    submitted_ids: tuple[str, ...]
    epoch: int
    counter: int = 0
    sentinels: tuple[SentinelRow, ...] = ()
    sentinel: SentinelRow | None = None
    newest: tuple[int, int, int] = (0, 0, 0)


class CachedAnswer(msgspec.Struct, frozen=True):
    """The answer to a submission. It may be given only after `insert`, if any, was written to the graph."""

    outcome: Outcome
    insert: HolderInsert | None = None


class AnswerCache:
    """Bounded by answers and by items over all answers, the oldest dropped first. Safe between threads."""

    def __init__(self, answers_max: int = ANSWERS_MAX, items_max: int = ITEMS_MAX) -> None:
        """Start empty."""
        self._cache: BoundedCache[ResendKey | VersionKey, CacheEntry] = BoundedCache(items_max, answers_max)

    def find(
        self, submission: Submission, reading: EpochReading, last_seen_every_ms: int
    ) -> CachedAnswer | None:
        """The answer that a look-up at this reading would give; None when it is not cached or not valid any more.

        A sentinel that was last seen `last_seen_every_ms` ago or earlier needs a write of its `last_seen_ms`, which
        only a claim does: then there is no cached answer.
        """
        if submission.dry_run or submission.warnings or submission.context.safe_mode:
            return None
        found = self._cache.get(_resend_key(submission))
        if found is not None and _is_valid(found, submission, reading):
            if found.counter == reading.counters[counter_of(holder_key(submission))]:
                return CachedAnswer(_addressed_to(submission, found.outcome))
            # The strategy id may hold another version by now: only a look-up can tell.
            return None
        found = self._cache.get(_version_key(submission))
        if found is None or found.sentinel is None or not _is_valid(found, submission, reading):
            return None
        # An older record than any ask of the lineage may be more than one more holder: only a claim can tell.
        if submission.dag.weight is not None or record_place(submission, reading.now_ms) < found.newest:
            return None
        if reading.now_ms - found.sentinel.last_seen_ms >= last_seen_every_ms:
            return None
        insert = _insert(submission, found, found.sentinel, reading)
        return CachedAnswer(_addressed_to(submission, found.outcome), insert)

    def put(
        self,
        submission: Submission,
        known: Known,
        change: VersionChange | Rejection | None,
        outcome: Outcome,
        reading: EpochReading,
    ) -> None:
        """Cache an answer, if it is of a kind that can be.

        It was decided from `known`, which was read after `reading`: a write in between makes the entry invalid too
        early, never too late.
        """
        ids = submission.dag.submitted_ids
        if outcome.warnings or submission.warnings or outcome.actions.reuse != len(outcome.items):
            return
        match change:
            case Resend(referencing=True):
                counter = reading.counters[counter_of(holder_key(submission))]
                self._put(_resend_key(submission), CacheEntry(outcome, ids, reading.epoch, counter))
            case AddHolder(sentinel=sentinel, alone=True) if sentinel.state is SentinelState.ACTIVE:
                if submission.dag.weight is None:
                    sentinels = known.sentinels[lineage_key(submission)]
                    newest = newest_ask(sentinels)
                    entry = CacheEntry(outcome, ids, reading.epoch, 0, sentinels, sentinel, newest)
                    self._put(_version_key(submission), entry)
            case _:
                pass

    def discard(self, submission: Submission) -> None:
        """Drop the entry of this submission's version: its `insert` was refused by the graph."""
        self._cache.discard(_version_key(submission))

    def _put(self, key: ResendKey | VersionKey, entry: CacheEntry) -> None:
        self._cache.put(key, entry, len(entry.outcome.items))


def _resend_key(submission: Submission) -> ResendKey:
    # The digest does not cover the lineage: the same DAG in another lineage is no resend. Nor does it cover artifacts and
    # global flags, which may have to be merged.
    digests = submission.submission_digest, submission.dag.attributes
    return holder_key(submission), lineage_key(submission), *digests


def _version_key(submission: Submission) -> VersionKey:
    dag = submission.dag
    return dag.lineage, dag.version, dag.content_digest, dag.attributes, submission.context


def _is_valid(found: CacheEntry, submission: Submission, reading: EpochReading) -> bool:
    """Same epoch and same order of nodes: an answer lists its items in the order of the DAG."""
    return found.epoch == reading.epoch and found.submitted_ids == submission.dag.submitted_ids


def _addressed_to(submission: Submission, outcome: Outcome) -> Outcome:
    return msgspec.structs.replace(
        outcome,
        strategy_id=submission.strategy_id,
        submission_id=submission.submission_id,
        submission_digest=submission.submission_digest,
        sentinel_id=sentinel_id(submission.strategy_id),
    )


def _insert(
    submission: Submission, found: CacheEntry, sentinel: SentinelRow, reading: EpochReading
) -> HolderInsert:
    digest = submission.submission_digest
    return HolderInsert(
        lineage=LineageRow(lineage_key(submission), *record_place(submission, reading.now_ms)),
        sentinels=found.sentinels,
        epoch=found.epoch,
        holder=HolderRow(holder_key(submission), sentinel.key, digest, None, reading.now_ms),
        # An empty body as `claim` writes it for a plain answer: accepted, a replay decides it again.
        outcome=OutcomeRow(claim_id(submission), b"", (), reading.now_ms),
    )
