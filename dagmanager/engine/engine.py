"""The engine: the five steps over real stores. One engine, several doors.

`lookup` reads, `classify` is pure, `upsert` is the only method that changes anything:
claim → provision → log → activate → emit. A crash between any two leaves nothing unrecorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from dagmanager.dag.model import Submission
from dagmanager.engine.caches.answer_cache import AnswerCache
from dagmanager.engine.caches.epoch_cache import EpochCache
from dagmanager.engine.caches.reusable_nodes import ReusableNodes, with_cached
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.dry_run import provisional_outcome
from dagmanager.engine.decide.submission_keys import claim_id, lookup_keys, version_change
from dagmanager.engine.effects.claim_completion import Completion
from dagmanager.engine.effects.lost_topics import LOST_AT_ONCE, LostTopic, LostTopicWatch, declare_lost
from dagmanager.engine.effects.outbox import publish_outbox
from dagmanager.engine.model.event_ports import AdminLog, EventSink
from dagmanager.engine.model.graph_port import EpochReading, Graph, GraphReader, Known, LookupKeys
from dagmanager.engine.model.observer import Observer
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import Binding
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.model.version_change import Resend
from dagmanager.engine.stages import Answer, LookedUp, Planned
from dagmanager.engine.transactions.claim import Claimed, claim_in
from dagmanager.engine.transactions.claim_node_rows import ClaimOptions
from dagmanager.errors import Rejection

_UNASKED = Known(nodes={}, queues={}, epoch=0, now_ms=0)
_NO_PLAN = Plan((), plain=True)
# A third of a lease for claiming; the rest is for asking the broker.
LEASE_PARTS: Final = 3


def lookup(
    graph: GraphReader,
    batch: Sequence[Submission],
    generation: int = 0,
    pulse: EpochReading | None = None,
    nodes: ReusableNodes | None = None,
) -> list[LookedUp]:
    """One query for the whole micro-batch (F3), after this `pulse`, for what is not among the `nodes` kept."""
    wanted = [bindings(submission) for submission in batch]
    keys = list(map(lookup_keys, batch, wanted))
    every = frozenset[Binding]().union(*(each.bindings for each in keys))
    kept = nodes.get(every, pulse.epoch) if nodes is not None and pulse is not None else {}
    known = graph.known(
        LookupKeys(
            bindings=every.difference(kept),
            lineages=frozenset().union(*(each.lineages for each in keys)),
            holders=frozenset().union(*(each.holders for each in keys)),
            outcomes=frozenset().union(*(each.outcomes for each in keys)),
        )
    )
    if nodes is not None and pulse is not None:
        nodes.put(known, pulse.epoch)
    known = with_cached(known, kept)
    return [
        LookedUp(submission, known, generation, pulse, wanted=each)
        for submission, each in zip(batch, wanted, strict=True)
    ]


def plan(item: LookedUp, options: ClaimOptions) -> Planned:
    """Pure: the plan and what it does to the lineage."""
    submission, known = item.submission, item.known
    if item.recalled is not None:
        return Planned(submission, known, item.generation, _NO_PLAN, None, item.pulse, item.recalled)
    decided = classify(submission, known, options.policy, claim_id(submission), item.wanted)
    return Planned(submission, known, item.generation, decided, version_change(submission, known), item.pulse)


@dataclass
class Engine:
    """Protocols and one worker's write generation; safe to call from several threads.

    `sleep` and `timer` are in seconds. `watch` is there where the topics are a broker's, which others may change;
    one thread calls `find_lost`.
    """

    graph: Graph
    topics: Topics
    events: EventSink
    admin_log: AdminLog
    options: ClaimOptions
    sleep: Callable[[float], None]
    timer: Callable[[], float] = time.monotonic
    generation: int = 0
    observer: Observer = field(default_factory=Observer)
    recall: AnswerCache = field(default_factory=AnswerCache)
    nodes: ReusableNodes = field(default_factory=ReusableNodes)
    pulses: EpochCache = field(init=False)
    watch: LostTopicWatch | None = None
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _unpublished: bool = True

    def __post_init__(self) -> None:
        """Pulses are this graph's."""
        self.pulses = EpochCache(self.graph)

    def lookup(self, batch: Sequence[Submission]) -> list[LookedUp]:
        """One read for the micro-batch, stamped with this worker's write generation.

        Of what is remembered nothing is read.
        """
        generation, pulse = self.generation, self.pulses.fresh()
        every_ms = self.options.policy.last_seen_every_ms
        recalled = [self.recall.find(submission, pulse, every_ms) for submission in batch]
        asked = [submission for submission, one in zip(batch, recalled, strict=True) if one is None]
        found = iter(lookup(self.graph, asked, generation, pulse, self.nodes) if asked else ())
        return [
            next(found) if one is None else LookedUp(submission, _UNASKED, generation, pulse, one)
            for submission, one in zip(batch, recalled, strict=True)
        ]

    def classify(self, item: LookedUp) -> Planned:
        """Pure."""
        return plan(item, self.options)

    def upsert(self, batch: Sequence[Planned]) -> list[Answer]:
        """Make it so; answers in the order of the batch. Its events wait in the outbox for `publish`.

        Raises `UnavailableError` when a store is away: call again with the same batch, what was
        claimed is found and finished.
        """
        with self._writing:
            results: list[Answer] = []
            for group in self._claimed(batch):
                completion = Completion(self.graph, self.topics, self.admin_log, self.options, self.sleep)
                results += completion.finish(group)
                # Finishing wrote more events; the poll may have emptied the outbox since they were claimed.
                self._unpublished |= any(isinstance(one, Claimed) for _, one in group)
            for answer in results:
                self._observe(answer)
            return results

    def _claimed(self, batch: Sequence[Planned]) -> Iterator[list[tuple[Submission, Claimed | Answer]]]:
        """The batch in order, claimed, in groups that are to be finished before more is claimed.

        All in one, unless claiming takes so long that the first leases would be over before their topics are
        asked for: then others would take them over, and do the same work.
        """
        group: list[tuple[Submission, Claimed | Answer]] = []
        oldest_s = self.timer()
        for item in batch:
            if group and (self.timer() - oldest_s) * 1_000 * LEASE_PARTS >= self.options.policy.lease_ms:
                yield group
                self._written()  # by finishing them, too
                group, oldest_s = [], self.timer()
            group.append((item.submission, self._claim(item)))
        yield group

    def _observe(self, answer: Answer) -> None:
        """Count the answer; what a new tag query resolves to is told once, when it is new (M7)."""
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
                found = self.graph.tagged(query.tags, node.interval, query.match_mode, namespace)
                self.observer.tag_query(node.node_id, query, len(found))

    def submit(self, batch: Sequence[Submission]) -> list[Answer]:
        """Every step in order, for doors that hold no stream."""
        answers = self.upsert([self.classify(item) for item in self.lookup(batch)])
        self.publish_own()
        return answers

    def finish_overdue(self, limit: int = 100) -> int:
        """Take over and finish claims whose lease is over; how many (the poll in every process)."""
        completion = Completion(self.graph, self.topics, self.admin_log, self.options, self.sleep)
        with self._writing:
            finished = completion.finish_overdue(limit)
            if finished:
                self._written()
        return finished

    def find_lost(self) -> tuple[LostTopic, ...]:
        """One round of the watch: what it found lost, each told by one process only (the poll in every process)."""
        if self.watch is None:
            return ()
        missing = self.watch.look(self.graph, self.topics)
        lost: list[LostTopic] = []
        for start in range(0, len(missing), LOST_AT_ONCE):
            batch = missing[start : start + LOST_AT_ONCE]
            with self._writing:
                found = declare_lost(self.graph, self.admin_log, batch)
                self._written()
            self.watch.forget(batch)
            for each in found:
                self.observer.lost(each.queue, each.why)
            lost.extend(found)
        return tuple(lost)

    def publish(self) -> int:
        """Empty the outbox, whoever filled it; how many events were sent."""
        self._unpublished = False
        try:
            return publish_outbox(self.graph, self.events)
        except BaseException:
            self._unpublished = True
            raise

    def publish_own(self) -> int:
        """The same if this process wrote anything since: what others left behind is for the poll."""
        return self.publish() if self._unpublished else 0

    def _claim(self, item: Planned) -> Claimed | Answer:
        """Answer at once what needs no claim; claim the rest, each in one transaction."""
        if item.recalled is not None:
            answer = self._recalled(item.submission)
            if answer is not None:
                return answer
        if item.recalled is not None or item.generation != self.generation:
            pulse = self.pulses.fresh()
            looked_up = lookup(self.graph, [item.submission], self.generation, pulse, self.nodes)
            item = self.classify(looked_up[0])
        submission = item.submission
        if submission.dry_run:
            return Answer(submission, _dry(item))
        decided, change = item.plan, item.change
        stored = claim_id(submission) in item.known.outcomes
        if isinstance(decided, Plan) and decided.plain and isinstance(change, Resend) and not stored:
            outcome = build_outcome(submission, decided, {}, item.known, change.warnings)
            return Answer(submission, self._remembered(item, outcome))
        result = claim_in(self.graph, submission, self.options, self.nodes)
        self._written()
        if not isinstance(result, Claimed):
            return Answer(submission, result)
        if result.activated and not result.joined and not result.replayed:
            self._remembered(item, result.outcome)
        return result

    def _recalled(self, submission: Submission) -> Answer | None:
        """The answer as it is remembered; None when that holds no more.

        Looked for again: what came before it in the micro-batch may have changed it.
        """
        found = self.recall.find(submission, self.pulses.fresh(), self.options.policy.last_seen_every_ms)
        if found is None:
            return None
        if found.insert is not None and not self.graph.add_holder(found.insert):
            self.recall.discard(submission)
            return None
        return Answer(submission, found.outcome)

    def _remembered(self, item: Planned, outcome: Outcome) -> Outcome:
        if item.pulse is not None:
            self.recall.put(item.submission, item.known, item.change, outcome, item.pulse)
        return outcome

    def _written(self) -> None:
        """What this worker read before its own write is outdated."""
        self.generation += 1
        self.pulses.invalidate()
        self._unpublished = True


def _dry(item: Planned) -> Outcome | Rejection:
    if isinstance(item.plan, Rejection):
        return item.plan
    if isinstance(item.change, Rejection):
        return item.change
    return provisional_outcome(item.submission, item.plan, item.known)
