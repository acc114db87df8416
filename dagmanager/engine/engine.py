"""The engine: lookup, classify and upsert over real stores. One engine, several entry points.

`lookup` reads, `classify` is pure. `upsert` is `claim` and `advance`; with the poll's `finish_overdue` and `find_lost`
they are the methods that change stores: claim → provision → log → activate → emit (`publish`). After a crash between any
two, a replay or the poll of another process finishes the rest (ARCHITECTURE.md, Order of effects).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.answer_cache import AnswerCache
from dagmanager.engine.caches.epoch_cache import EpochCache
from dagmanager.engine.caches.reusable_nodes import ReusableNodes, with_cached
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.dry_run import provisional_outcome
from dagmanager.engine.decide.submission_keys import claim_id, lookup_keys, version_change
from dagmanager.engine.effects.changed_topics import ChangedTopicWatch
from dagmanager.engine.effects.claim_completion import WAIT, Completion
from dagmanager.engine.effects.lost_topics import LOST_AT_ONCE, LostTopic, LostTopicWatch, declare_lost
from dagmanager.engine.effects.outbox import publish_outbox
from dagmanager.engine.model.admin_log_port import AdminLog
from dagmanager.engine.model.events_port import EventSink
from dagmanager.engine.model.graph_port import EpochReading, Graph, GraphReader, LookupKeys, TaggedQueue
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import Binding, QueueRow
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.model.version_change import Resend
from dagmanager.engine.stages import Answer, CacheHit, InProgress, LookedUp, Planned
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.decision import Claimed
from dagmanager.engine.transactions.lease import renew
from dagmanager.errors import Rejection

# While a micro-batch is claimed, its leases are renewed after each third of their length.
LEASE_PARTS: Final = 3


def lookup(
    graph: GraphReader,
    batch: Sequence[Submission],
    generation: int = 0,
    reading: EpochReading | None = None,
    cache: ReusableNodes | None = None,
) -> list[LookedUp]:
    """One query for the whole micro-batch (F3), for what is not in the `cache` at the epoch of this `reading`.

    Without either nothing is cached. Blocks for one round trip; raises `UnavailableError` like any read.
    """
    wanted = [bindings(submission) for submission in batch]
    keys = list(map(lookup_keys, batch, wanted))
    every = frozenset[Binding]().union(*(each.bindings for each in keys))
    kept = cache.get(every, reading.epoch) if cache is not None and reading is not None else {}
    known = graph.known(
        LookupKeys(
            bindings=every.difference(kept),
            nodes=frozenset().union(*(each.nodes for each in keys)),
            lineages=frozenset().union(*(each.lineages for each in keys)),
            holders=frozenset().union(*(each.holders for each in keys)),
            outcomes=frozenset().union(*(each.outcomes for each in keys)),
        )
    )
    if cache is not None and reading is not None:
        cache.put(known, reading.epoch)
    known = with_cached(known, kept)
    return [
        LookedUp(submission, known, generation, reading, each)
        for submission, each in zip(batch, wanted, strict=True)
    ]


def plan(item: LookedUp, options: ClaimOptions) -> Planned:
    """The plan, and how it changes the lineage. Pure."""
    submission, known = item.submission, item.known
    decided = classify(submission, known, options.policy, claim_id(submission), item.wanted)
    return Planned(
        submission, known, item.generation, decided, version_change(submission, known), item.reading
    )


@dataclass
class Engine:
    """The steps over one set of stores, with this process's caches; safe to call from several threads.

    `sleep`, `timer` and `epoch_clock` are in seconds, the clocks monotonic: `timer` for leases, `epoch_clock` for the
    age of an epoch reading. `answer_cache` and `reusable_nodes` are bounded; `AnswerCache(answers_max=0)` keeps
    nothing. `lost_topics` and `changed_topics` are given where a broker holds the topics, which others may delete and
    change; without them `find_lost` and `find_changed` do nothing. `generation` counts the writes of this process.
    """

    graph: Graph
    topics: Topics
    events: EventSink
    admin_log: AdminLog
    options: ClaimOptions
    sleep: Callable[[float], None]
    timer: Callable[[], float] = time.monotonic
    epoch_clock: Callable[[], float] = time.monotonic
    observer: Observer = field(default_factory=Observer)
    answer_cache: AnswerCache = field(default_factory=AnswerCache)
    reusable_nodes: ReusableNodes = field(default_factory=ReusableNodes)
    lost_topics: LostTopicWatch | None = None
    changed_topics: ChangedTopicWatch | None = None
    generation: int = field(default=0, init=False)
    _epochs: EpochCache = field(init=False)
    # Two locks, so that claims are decided while topics are created: one for deciding claims, one for what asks the
    # broker or writes the admin log. `_counting` guards `generation` and `_queued`, and is never held over a call.
    _claiming: threading.Lock = field(default_factory=threading.Lock, init=False)
    _finishing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _queued: set[str] = field(default_factory=set, init=False)
    _unpublished: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._epochs = EpochCache(self.graph, self.epoch_clock)

    def lookup(self, batch: Sequence[Submission]) -> list[LookedUp | CacheHit]:
        """Read once for all submissions that have no answer in the cache; in the order given.

        Blocks for at most two round trips. Raises `UnavailableError` when the graph is unreachable.
        """
        generation, reading = self.generation, self._epochs.fresh()
        every_ms = self.options.policy.last_seen_every_ms
        hits = [self.answer_cache.find(each, reading, every_ms) is not None for each in batch]
        missed = [each for each, hit in zip(batch, hits, strict=True) if not hit]
        found = iter(lookup(self.graph, missed, generation, reading, self.reusable_nodes) if missed else ())
        return [CacheHit(each) if hit else next(found) for each, hit in zip(batch, hits, strict=True)]

    def classify(self, item: LookedUp) -> Planned:
        """The advisory plan of one submission, under this engine's options. Pure, never blocks."""
        return plan(item, self.options)

    def upsert(self, batch: Sequence[Planned | CacheHit]) -> list[Answer]:
        """Claim, provision, activate; answers in the order of the batch. Its events wait in the outbox for `publish`.

        Idempotent: a submission that was decided before gets its stored answer. Blocks until every topic exists, also
        those that rivals provision. Raises `UnavailableError` when a store is unreachable: call it again with the same
        batch, which finishes what was claimed.
        """
        results, pauses = self.claim(batch), WAIT.pauses()
        while waiting := [each for each in results if isinstance(each, InProgress)]:
            advanced = self.advance(waiting)
            found = iter(advanced)
            results = [next(found) if isinstance(each, InProgress) else each for each in results]
            if advanced == waiting:
                self.sleep(next(pauses))
        return [each for each in results if isinstance(each, Answer)]

    def claim(self, batch: Sequence[Planned | CacheHit]) -> list[Answer | InProgress]:
        """Decide and record, in the order of the batch: an `Answer` where no topic is waited for, else `InProgress`.

        Pass what is `InProgress` to `advance` within the lease: leases are renewed by this method and by `advance`, also
        when it works on other claims, but not by a timer. Blocks for a transaction per item, never for a broker. Raises
        `UnavailableError`: call it again with the same batch.
        """
        with self._claiming:
            results: list[Answer | InProgress] = []
            renewed_s = self.timer()
            for item in batch:
                if (self.timer() - renewed_s) * 1_000 * LEASE_PARTS >= self.options.policy.lease_ms:
                    self._renew([each for each in results if isinstance(each, InProgress)])
                    renewed_s = self.timer()
                results.append(self._claim(item))
        with self._counting:
            self._queued.update(claim_id(each.submission) for each in results if isinstance(each, InProgress))
        self._observe(results)
        return results

    def advance(self, items: Sequence[InProgress]) -> list[Answer | InProgress]:
        """Provision and activate what was claimed, and answer what waits for no rival; in the order given.

        Blocks for provisioning, never for rivals. Call it again with what is still `InProgress`, together with what was
        claimed meanwhile: otherwise two processes could wait for each other. Raises `UnavailableError`: then look up,
        classify and claim these submissions again, which finds and finishes what was claimed.
        """
        with self._counting:
            self._queued.difference_update(claim_id(each.submission) for each in items)
        with self._finishing:
            results = self._completion().advance(items)
            self._written()
        self._observe(results)
        return results

    def _completion(self) -> Completion:
        return Completion(
            self.graph, self.topics, self.admin_log, self.options, self.sleep, self._queued_claims
        )

    def _queued_claims(self) -> tuple[str, ...]:
        with self._counting:
            return tuple(self._queued)

    def _renew(self, items: Sequence[InProgress]) -> None:
        """Extend the leases of claims of this batch: otherwise other processes would take them over and repeat the work."""
        ids, lease_ms = [claim_id(each.submission) for each in items], self.options.policy.lease_ms
        if ids:
            self.graph.transact(partial(renew, claim_ids=ids, owner=self.options.owner, lease_ms=lease_ms))

    def _observe(self, results: Sequence[Answer | InProgress]) -> None:
        for each in results:
            if isinstance(each, Answer):
                self._observe_answer(each)

    def _observe_answer(self, answer: Answer) -> None:
        """Count the answer, and what each tag query of a new version resolves to (M7)."""
        result = answer.result
        self.observer.answered(result.code.value if isinstance(result, Rejection) else "ok")
        if isinstance(result, Rejection):
            self.observer.refused(result)
            return
        if not result.actions.create:
            return
        namespace = answer.submission.context.namespace
        for node in answer.submission.dag.nodes:
            query = node.tag_query
            if query is not None:
                # The node's own interval is 0 when only its `params` have one. Without any a query matches nothing.
                found: Sequence[TaggedQueue] = ()
                if query.interval is not None:
                    found = self.graph.tagged(query.tags, query.interval, query.match_mode, namespace)
                self.observer.tag_query(node.node_id, query, len(found))

    def plan(self, batch: Sequence[Submission]) -> list[Planned | CacheHit]:
        """Look up and classify, in the order of the batch. Raises `UnavailableError` like `lookup`."""
        looked_up = self.lookup(batch)
        return [item if isinstance(item, CacheHit) else self.classify(item) for item in looked_up]

    def submit(self, batch: Sequence[Submission]) -> list[Answer]:
        """Plan, upsert and publish, for callers without a stream. Blocks and raises as `upsert` and `publish`."""
        answers = self.upsert(self.plan(batch))
        self.publish_own()
        return answers

    def finish_overdue(self, limit: int = 100) -> int:
        """Take over and finish at most `limit` claims whose lease has ended; how many. For the poll in every process.

        Blocks for provisioning, and for another thread that finishes claims. Raises `UnavailableError`.
        """
        with self._finishing:
            finished = self._completion().finish_overdue(limit)
            if finished:
                self._written()
        return finished

    def find_lost(self) -> tuple[LostTopic, ...]:
        """Ask the broker for the next page of topics; the topics that this process declared lost.

        Of several processes one declares each loss. Call it from one thread. Blocks for a request; raises
        `UnavailableError`.
        """
        if self.lost_topics is None:
            return ()
        missing = self.lost_topics.look(self.graph, self.topics)
        lost: list[LostTopic] = []
        for start in range(0, len(missing), LOST_AT_ONCE):
            batch = missing[start : start + LOST_AT_ONCE]
            with self._finishing:
                found = declare_lost(self.graph, self.admin_log, batch)
                self._written()
            self.lost_topics.forget(batch)
            for each in found:
                self.observer.lost(each.queue, each.why)
            lost.extend(found)
        return tuple(lost)

    def find_changed(self) -> tuple[QueueRow, ...]:
        """Ask the broker for the settings of the next topics; the queues whose `drift` this process stored.

        Call it from one thread. Blocks for two requests; raises `UnavailableError`.
        """
        if self.changed_topics is None:
            return ()
        with self._finishing:
            changed = self.changed_topics.look(self.graph, self.topics)
            if changed:
                self._written()
        return changed

    def publish(self) -> int:
        """Publish the outbox, also rows of other processes; how many events were sent.

        Blocks until the broker has acknowledged them. Raises `UnavailableError`: rows that were not sent stay.
        """
        self._unpublished = False
        try:
            return publish_outbox(self.graph, self.events)
        except BaseException:
            self._unpublished = True
            raise

    def publish_own(self) -> int:
        """`publish` if this process has written since the last `publish`: rows of others are left to the poll.

        How many events were sent. Blocks and raises as `publish`.
        """
        return self.publish() if self._unpublished else 0

    def read_ahead(self) -> None:
        """Read the epoch while submissions come, so that none of them waits for it (docs/semantics.md 7).

        Raises `UnavailableError` when the graph is unreachable.
        """
        if self._epochs.is_wanted():
            self._epochs.read()

    def _claim(self, item: Planned | CacheHit) -> Answer | InProgress:
        """Answer at once what needs no claim; claim the rest, each in one transaction."""
        if isinstance(item, CacheHit):
            answer = self._cached(item.submission)
            if answer is not None:
                return answer
            item = self._planned_now(item.submission)
        elif item.generation != self.generation:
            item = self._planned_now(item.submission)
        submission = item.submission
        if submission.dry_run:
            return Answer(submission, _dry(item))
        decided, change = item.plan, item.change
        stored = claim_id(submission) in item.known.outcomes
        if isinstance(decided, Plan) and decided.plain and isinstance(change, Resend) and not stored:
            outcome = build_outcome(submission, decided, {}, item.known, change.warnings)
            self._cache(item, outcome)
            return Answer(submission, outcome)
        result = claim_in(self.graph, submission, self.options, self.reusable_nodes)
        self._written()
        if not isinstance(result, Claimed):
            return Answer(submission, result)
        if result.activated and not result.joined and not result.replayed:
            self._cache(item, result.outcome)
        if result.provision or result.joined:
            return InProgress(submission, result)
        return Answer(submission, result.outcome, result.replayed)

    def _planned_now(self, submission: Submission) -> Planned:
        """Read and plan again: what was read before this process's last write is stale."""
        reading = self._epochs.fresh()
        [found] = lookup(self.graph, [submission], self.generation, reading, self.reusable_nodes)
        return self.classify(found)

    def _cached(self, submission: Submission) -> Answer | None:
        """The answer from the cache, its holder added; None when it is not valid any more."""
        every_ms = self.options.policy.last_seen_every_ms
        found = self.answer_cache.find(submission, self._epochs.fresh(), every_ms)
        if found is None:
            return None
        # A compare-and-set in the graph: it fails when something that the answer was decided from has changed.
        if found.insert is not None and not self.graph.add_holder(found.insert):
            self.answer_cache.discard(submission)
            return None
        return Answer(submission, found.outcome)

    def _cache(self, item: Planned, outcome: Outcome) -> None:
        if item.reading is not None:
            self.answer_cache.put(item.submission, item.known, item.change, outcome, item.reading)

    def _written(self) -> None:
        """What this process read before its own write is stale."""
        with self._counting:
            self.generation += 1
        self._epochs.invalidate()
        self._unpublished = True


def _dry(item: Planned) -> Outcome | Rejection:
    if isinstance(item.plan, Rejection):
        return item.plan
    if isinstance(item.change, Rejection):
        return item.change
    return provisional_outcome(item.submission, item.plan, item.known)
