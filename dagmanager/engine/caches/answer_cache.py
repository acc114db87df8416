"""Answers that may be told again without asking the graph for every node (docs/semantics.md 7, epoch).

Remembered are only answers that reuse every node as it is, without a word of warning: nothing in them
ends by itself, and whatever would change them raises the epoch or counts a move (`moves`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from dagmanager.bounded_cache import BoundedCache
from dagmanager.dag.model import ComputeContext, Submission
from dagmanager.engine.caches.holder_counters import counter_of
from dagmanager.engine.decide.rollout import AddHolder, Resend, VersionChange
from dagmanager.engine.decide.submission_keys import claim_id, holder_key, lineage_key
from dagmanager.engine.model.graph_port import EpochReading, HolderInsert, Known
from dagmanager.engine.model.outcome import Outcome, sentinel_id
from dagmanager.engine.model.rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    OutcomeRow,
    SentinelRow,
    SentinelState,
)
from dagmanager.errors import Rejection

KEPT_ITEMS: Final = 500_000
KEPT_ANSWERS: Final = 20_000

# A strategy id with what it sent last, or a version of a lineage in one context, whoever asks for it.
CacheKey = tuple[HolderKey, LineageKey, str]
Version = tuple[str, str, str, ComputeContext]


class CacheEntry(msgspec.Struct, frozen=True):
    """An answer and what it was decided from.

    `moves` is the counter of its strategy id, for a resend; `sentinels` the lineage's and `told` the
    one that a new holder is told of, for a version that anybody may ask for.
    """

    outcome: Outcome
    submitted_ids: tuple[str, ...]
    epoch: int
    moves: int = 0
    sentinels: tuple[SentinelRow, ...] = ()
    told: SentinelRow | None = None


class CachedAnswer(msgspec.Struct, frozen=True):
    """The answer to a submission; `insert` is what must be written for it, if anything."""

    outcome: Outcome
    insert: HolderInsert | None = None


class AnswerCache:
    """Bounded by answers and by items over all answers; the oldest goes first. Safe between threads."""

    def __init__(self, answers_max: int = KEPT_ANSWERS, items_max: int = KEPT_ITEMS) -> None:
        """Empty."""
        self._kept: BoundedCache[CacheKey | Version, CacheEntry] = BoundedCache(items_max, answers_max)

    def find(
        self, submission: Submission, reading: EpochReading, last_seen_every_ms: int
    ) -> CachedAnswer | None:
        """What this submission is answered at this reading, if that is known.

        `last_seen_every_ms`: how long a sentinel may go without a note that it was asked for.
        """
        if submission.dry_run or submission.warnings or submission.context.safe_mode:
            return None
        found = self._kept.get(_asked(submission))
        if found is not None and _is_good(found, submission, reading):
            if found.moves == reading.counters[counter_of(holder_key(submission))]:
                return CachedAnswer(_told_to(submission, found.outcome))
            return None
        found = self._kept.get(_version(submission))
        if found is None or found.told is None or not _is_good(found, submission, reading):
            return None
        if submission.dag.weight is not None:
            return None
        if reading.now_ms - found.told.last_seen_ms >= last_seen_every_ms:
            return None
        return CachedAnswer(
            _told_to(submission, found.outcome), _insert(submission, found, found.told, reading)
        )

    def keep(
        self,
        submission: Submission,
        known: Known,
        change: VersionChange | Rejection | None,
        outcome: Outcome,
        reading: EpochReading,
    ) -> None:
        """Remember an answer that was decided from what was `known` after `reading`."""
        ids = submission.dag.submitted_ids
        if outcome.warnings or submission.warnings or outcome.actions.reuse != len(outcome.items):
            return
        match change:
            case Resend(referencing=True):
                moves = reading.counters[counter_of(holder_key(submission))]
                self._put(_asked(submission), CacheEntry(outcome, ids, reading.epoch, moves))
            case AddHolder(sentinel=told, weight_asked=None) if told.state is SentinelState.ACTIVE:
                if submission.dag.weight is None:
                    sentinels = known.sentinels[lineage_key(submission)]
                    made = CacheEntry(outcome, ids, reading.epoch, 0, sentinels, told)
                    self._put(_version(submission), made)
            case _:
                pass

    def forget(self, submission: Submission) -> None:
        """What is remembered of this version is not so any more."""
        self._kept.forget(_version(submission))

    def _put(self, key: CacheKey | Version, made: CacheEntry) -> None:
        """In place of what an older epoch left there."""
        self._kept.forget(key)
        self._kept.keep(key, made, len(made.outcome.items))


def _asked(submission: Submission) -> CacheKey:
    # The digest names no lineage: the same DAG under another one is no resend.
    return holder_key(submission), lineage_key(submission), submission.submission_digest


def _version(submission: Submission) -> Version:
    dag = submission.dag
    return dag.lineage, dag.version, dag.content_digest, submission.context


def _is_good(found: CacheEntry, submission: Submission, reading: EpochReading) -> bool:
    """Of one epoch, and for a DAG in this very order: the answer has an item per node."""
    return found.epoch == reading.epoch and found.submitted_ids == submission.dag.submitted_ids


def _told_to(submission: Submission, outcome: Outcome) -> Outcome:
    return msgspec.structs.replace(
        outcome,
        strategy_id=submission.strategy_id,
        submission_id=submission.submission_id,
        submission_digest=submission.submission_digest,
        sentinel_id=sentinel_id(submission.strategy_id),
    )


def _insert(
    submission: Submission, found: CacheEntry, told: SentinelRow, reading: EpochReading
) -> HolderInsert:
    digest = submission.submission_digest
    return HolderInsert(
        lineage=lineage_key(submission),
        sentinels=found.sentinels,
        epoch=found.epoch,
        at_ms=submission.at_ms,
        holder=HolderRow(holder_key(submission), told.key, digest, None, reading.now_ms),
        # As `claim` stores a plain answer: accepted, to be decided anew.
        outcome=OutcomeRow(claim_id(submission), b"", (), reading.now_ms),
    )
