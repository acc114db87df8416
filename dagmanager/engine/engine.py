"""The engine: the five steps over real stores. One engine, several doors.

`lookup` reads, `classify` is pure, `upsert` is the only method that changes anything:
claim → provision → log → activate → emit. A crash between any two leaves nothing unrecorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dagmanager.dag.model import Submission
from dagmanager.engine.claim import Claimed, claim_id, claim_in, keys_of, version_change
from dagmanager.engine.claim_rows import ClaimOptions
from dagmanager.engine.classify import classify
from dagmanager.engine.complete import Completion
from dagmanager.engine.dry_run import provisional_outcome
from dagmanager.engine.journey import Answer, LookedUp, Planned
from dagmanager.engine.outcome import Outcome
from dagmanager.engine.plan import Plan
from dagmanager.engine.ports import (
    AdminLog,
    EventSink,
    Graph,
    GraphReader,
    LookupKeys,
    Observer,
    Topics,
    Unobserved,
)
from dagmanager.engine.publish import publish_waiting
from dagmanager.engine.report import outcome_of
from dagmanager.engine.versions import Resend
from dagmanager.errors import Rejection


def lookup(graph: GraphReader, batch: Sequence[Submission], generation: int = 0) -> list[LookedUp]:
    """One query for the whole micro-batch (F3)."""
    keys = [keys_of(submission) for submission in batch]
    known = graph.known(
        LookupKeys(
            bindings=frozenset().union(*(each.bindings for each in keys)),
            lineages=frozenset().union(*(each.lineages for each in keys)),
            holders=frozenset().union(*(each.holders for each in keys)),
            outcomes=frozenset().union(*(each.outcomes for each in keys)),
        )
    )
    return [LookedUp(submission, known, generation) for submission in batch]


def plan(item: LookedUp, options: ClaimOptions) -> Planned:
    """Pure: the plan and what it does to the lineage."""
    submission, known = item.submission, item.known
    decided = classify(submission, known, options.policy, claim_id(submission))
    return Planned(submission, known, item.generation, decided, version_change(submission, known))


@dataclass
class Engine:
    """Protocols and one worker's write generation; safe to call from several threads."""

    graph: Graph
    topics: Topics
    events: EventSink
    admin_log: AdminLog
    options: ClaimOptions
    sleep: Callable[[float], None]
    generation: int = 0
    observer: Observer = field(default_factory=Unobserved)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def lookup(self, batch: Sequence[Submission]) -> list[LookedUp]:
        """One read for the micro-batch, stamped with this worker's write generation."""
        return lookup(self.graph, batch, self.generation)

    def classify(self, item: LookedUp) -> Planned:
        """Pure."""
        return plan(item, self.options)

    def upsert(self, batch: Sequence[Planned]) -> list[Answer]:
        """Make it so; answers in the order of the batch. Its events wait in the outbox for `publish`.

        Raises `UnavailableError` when a store is away: call again with the same batch, what was
        claimed is found and finished.
        """
        with self._writing:
            claimed = [self._claim(item) for item in batch]
            completion = Completion(self.graph, self.topics, self.admin_log, self.options, self.sleep)
            results = completion.finish(
                [(item.submission, one) for item, one in zip(batch, claimed, strict=True)]
            )
            for answer in results:
                self._observe(answer)
            return results

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
        for node in answer.submission.hashed.dag.nodes:
            query = node.tag_query
            if query is not None:
                found = self.graph.tagged(query.tags, node.interval, query.match_mode, namespace)
                self.observer.tag_query(node.node_id, query, len(found))

    def submit(self, batch: Sequence[Submission]) -> list[Answer]:
        """Every step in order, for doors that hold no stream."""
        answers = self.upsert([self.classify(item) for item in self.lookup(batch)])
        self.publish()
        return answers

    def finish_overdue(self, limit: int = 100) -> int:
        """Take over and finish claims whose lease is over; how many (the poll in every process)."""
        completion = Completion(self.graph, self.topics, self.admin_log, self.options, self.sleep)
        with self._writing:
            finished = completion.finish_overdue(limit)
            self.generation += bool(finished)
        return finished

    def publish(self) -> int:
        """Empty the outbox, whoever filled it; how many events were sent."""
        return publish_waiting(self.graph, self.events)

    def _claim(self, item: Planned) -> Claimed | Answer:
        """Answer at once what needs no write; claim the rest in one transaction."""
        if item.generation != self.generation:
            item = self.classify(self.lookup([item.submission])[0])
        submission = item.submission
        if submission.dry_run:
            return Answer(submission, _dry(item))
        decided, change = item.plan, item.change
        stored = claim_id(submission) in item.known.outcomes
        if isinstance(decided, Plan) and decided.plain and isinstance(change, Resend) and not stored:
            return Answer(submission, outcome_of(submission, decided, {}, item.known, change.warnings))
        result = claim_in(self.graph, submission, self.options)
        self.generation += 1
        return result if isinstance(result, Claimed) else Answer(submission, result)


def _dry(item: Planned) -> Outcome | Rejection:
    if isinstance(item.plan, Rejection):
        return item.plan
    if isinstance(item.change, Rejection):
        return item.change
    return provisional_outcome(item.submission, item.plan, item.known)
