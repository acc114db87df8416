"""Finishing claims: provision, log, activate; then wait for what rivals are still provisioning.

A process finishes its own claims first and then waits for others', never for its own (decisions 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dagmanager.dag.model import Submission
from dagmanager.engine.activate import activate
from dagmanager.engine.amend import mark_begun, refuse, rename
from dagmanager.engine.claim import Claimed, claim_id, claim_in
from dagmanager.engine.claim_rows import ClaimOptions
from dagmanager.engine.journey import Answer
from dagmanager.engine.lease import take
from dagmanager.engine.outcome import Outcome, decode
from dagmanager.engine.ports import AdminEntry, AdminLog, Graph, LookupKeys, Topics
from dagmanager.engine.provision import Provisioned, foreign_before, provision
from dagmanager.engine.rows import GONE, QueueRow, QueueState
from dagmanager.errors import ClaimLostError, Rejection

WAIT_S = 0.020
Rows = tuple[QueueRow, ...]


@dataclass(frozen=True)
class Completion:
    """The shell around one batch of claims."""

    graph: Graph
    topics: Topics
    admin_log: AdminLog
    options: ClaimOptions
    sleep: Callable[[float], None]

    def finish(self, items: Sequence[tuple[Submission, Claimed | Answer]]) -> list[Answer]:
        """Bring every claim to its end; the answers in the order given."""
        self.bring_up(
            {
                claim_id(submission): one.provision
                for submission, one in items
                if isinstance(one, Claimed) and one.provision
            }
        )
        return [self._answer(submission, one) for submission, one in items]

    def bring_up(self, claims: Mapping[str, Rows]) -> None:
        """Provision all topics of these claims in one request, log them, activate claim by claim."""
        open_ = dict(claims)
        while open_:
            foreign = frozenset(foreign_before(self.topics, _all(open_)))
            if foreign:
                self._rename(open_, foreign)
                continue
            names = frozenset(row.topic for row in _all(open_) if not row.begun)
            if names:
                self.graph.transact(lambda tx: mark_begun(tx, names, self.options.owner))  # noqa: B023
                open_ = {each: tuple(_begun(row) for row in rows) for each, rows in open_.items()}
            report = provision(self.topics, _all(open_), self.sleep, lambda: None)
            self._refuse(open_, report)
            if report.foreign:
                self._rename(open_, frozenset(report.foreign))
                continue
            self._activate(open_, report)
            return

    def finish_overdue(self, limit: int = 100) -> int:
        """Take over claims whose lease is over and finish them; how many (the 5 s poll)."""
        done = 0
        for each in self.graph.overdue_claims(limit):
            done += self._take_over(each)
        return done

    def _rename(self, open_: dict[str, Rows], foreign: frozenset[str]) -> None:
        for each, rows in list(open_.items()):
            if any(row.topic in foreign for row in rows):
                open_[each] = self.graph.transact(lambda tx: rename(tx, each, foreign))  # noqa: B023

    def _refuse(self, open_: dict[str, Rows], report: Provisioned) -> None:
        for each, rows in list(open_.items()):
            refused = {row.topic: report.refused[row.topic] for row in rows if row.topic in report.refused}
            if refused:
                refused |= {row.topic: "somebody else's topic" for row in rows if row.topic in report.foreign}
                self.graph.transact(lambda tx: refuse(tx, each, refused))  # noqa: B023
                self._activate({each: rows}, report)
                del open_[each]

    def _activate(self, open_: Mapping[str, Rows], report: Provisioned) -> None:
        self._log(open_, report)
        ids = {topic: info.topic_id for topic, info in report.ready.items()}
        for each in open_:
            try:
                self.graph.transact(lambda tx: activate(tx, each, ids, self.options.owner))  # noqa: B023
            except ClaimLostError:
                # Whoever took it over finishes it; our submission waits for its topics below.
                continue

    def _log(self, open_: Mapping[str, Rows], report: Provisioned) -> None:
        """Every creation is in the admin log before it counts (R3)."""
        now_ms = self.graph.known(LookupKeys()).now_ms
        self.admin_log.append(
            [
                AdminEntry(
                    "create",
                    row.topic,
                    report.ready[row.topic].topic_id,
                    row.spec,
                    row.binding.node_id,
                    row.binding.namespace,
                    each,
                    now_ms,
                )
                for each, rows in open_.items()
                for row in rows
                if row.topic in report.ready
            ]
        )

    def _answer(self, submission: Submission, one: Claimed | Answer) -> Answer:
        if isinstance(one, Answer):
            return one
        replayed = one.replayed
        while True:
            result = self._stored(submission, one) if one.provision else one.outcome
            if isinstance(result, Rejection) or self._await(one.await_):
                return Answer(submission, result, replayed)
            # A queue that we had joined failed: decide again, nobody was told yet.
            again = claim_in(self.graph, submission, self.options, again=True)
            if isinstance(again, Rejection):
                return Answer(submission, again)
            one = again
            if one.provision:
                self.bring_up({claim_id(submission): one.provision})

    def _stored(self, submission: Submission, one: Claimed) -> Outcome | Rejection:
        """The outcome as it stands now: names may have been chosen again."""
        each = claim_id(submission)
        row = self.graph.known(LookupKeys(outcomes=frozenset({each}))).outcomes.get(each)
        return decode(row.body) if row is not None and row.body else one.outcome

    def _await(self, topics: tuple[str, ...]) -> bool:
        """Wait until these are active; False when one of them is gone. Overdue ones are finished here."""
        while topics:
            found = self.graph.transact(lambda tx: (tx.now_ms(), tx.queues_by_topic(topics)))  # noqa: B023
            now_ms, rows = found
            if len(rows) < len(topics) or any(row.state in GONE for row in rows.values()):
                return False
            waiting = [row for row in rows.values() if row.state is QueueState.PROVISIONING]
            if not waiting:
                return True
            overdue = sorted({row.claim_id for row in waiting if row.lease_until_ms <= now_ms})
            if not sum(self._take_over(each) for each in overdue):
                self.sleep(WAIT_S)
            topics = tuple(sorted(row.topic for row in waiting))
        return True

    def _take_over(self, each: str) -> int:
        options = self.options
        queues, sentinels = self.graph.transact(
            lambda tx: take(tx, each, options.owner, options.policy.lease_ms, only_overdue=True)
        )
        if not queues and not sentinels:
            return 0
        self.bring_up({each: queues})
        return 1


def _all(open_: Mapping[str, Rows]) -> list[QueueRow]:
    return [row for rows in open_.values() for row in rows]


def _begun(row: QueueRow) -> QueueRow:
    return msgspec.structs.replace(row, begun=True)
