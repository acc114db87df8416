"""Finishes claims: provision, log, activate; then wait for the queues that rivals are still provisioning.

A process finishes all of its own claims before it waits for any rival's (docs/semantics.md 6). Two processes that each
joined a queue of the other would otherwise wait for each other until a lease ends.

Any step may find that another process has taken the claim over (`ClaimLostError`). Then the claim is dropped here, and
its answer is read from the graph once the new owner has activated it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from dagmanager.backoff import Backoff
from dagmanager.dag.model import Submission
from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.effects.provision import Provisioned, foreign_before, provision
from dagmanager.engine.model.admin_log_port import AdminAction, AdminEntry, AdminLog
from dagmanager.engine.model.graph_port import Graph, Locks, LookupKeys, Transaction
from dagmanager.engine.model.outcome import Outcome, decode
from dagmanager.engine.model.policy import ClaimOptions
from dagmanager.engine.model.rows import GONE, QueueRow, QueueState
from dagmanager.engine.model.topics_port import Topics
from dagmanager.engine.stages import Answer, InProgress
from dagmanager.engine.transactions.activate import activate_in
from dagmanager.engine.transactions.begin import begin
from dagmanager.engine.transactions.claim import claim_in
from dagmanager.engine.transactions.claim_repair import give_up, refuse, rename, respecify
from dagmanager.engine.transactions.claim_too_large import refuse_too_large
from dagmanager.engine.transactions.decision import NO_LOCKS, Claimed
from dagmanager.engine.transactions.lease import renew, take_over
from dagmanager.errors import ClaimLostError, Rejection, StoreMemoryError

# Between two looks at the queues of rivals, whose provisioning takes milliseconds to seconds.
WAIT: Final = Backoff(first_s=0.020, factor=1.5, longest_s=0.100, jitter=0)
BEGUN_PER_TRANSACTION: Final = 2_000
ClaimRows = tuple[QueueRow, ...]


class Unfinished(msgspec.Struct, frozen=True):
    """The queues that a claim still has to provision, and the locks that its activation will need, as far as known."""

    queues: ClaimRows
    locks: Locks = NO_LOCKS


@dataclass(frozen=True)
class Completion:
    """Finishes claims over the ports of one engine; `sleep` takes seconds.

    `queued` are claims of this process that wait for a later pass: their leases are renewed, too.
    """

    graph: Graph
    topics: Topics
    admin_log: AdminLog
    options: ClaimOptions
    sleep: Callable[[float], None]
    queued: Callable[[], Sequence[str]] = tuple

    def advance(self, items: Sequence[InProgress]) -> list[InProgress | Answer]:
        """One pass: provision and activate what is new, and answer what waits for nothing; in the order given.

        Blocks for provisioning (`provision`), never for rivals: their queues are looked at once. Raises
        `UnavailableError` when a store is unreachable; the claims stay, and a replay finishes them.
        """
        done = self.bring_up(
            {
                claim_id(each.submission): Unfinished(each.claimed.provision, each.claimed.locks)
                for each in items
                if not each.brought_up and each.claimed.provision
            }
        )
        return [self._advanced(_brought_up(each, done)) for each in items]

    def bring_up(self, claims: Mapping[str, Unfinished]) -> Mapping[str, frozenset[str]]:
        """Provision the topics of all these claims in one request, log them, activate claim by claim.

        The topics that this activated, by claim. A claim that is missing was refused, or another process took it over and
        finishes it. Blocks as `provision`.
        """
        open_ = {each: claim.queues for each, claim in claims.items()}
        locks = {each: claim.locks for each, claim in claims.items()}
        if not all(row.spec.is_possible for row in _all(open_)):
            policy, owner = self.options.policy, self.options.owner
            again = partial(respecify, claims=open_, owner=owner, policy=policy, brokers=self.options.brokers)
            open_ = self.graph.transact(again)
        while open_:
            # Before `begun` is written: afterwards an existing topic may be ours as well as foreign.
            foreign = frozenset(foreign_before(self.topics, _all(open_)))
            if foreign:
                self._rename(open_, foreign, begun=False)
                continue
            checked = frozenset(row.topic for row in _all(open_))
            if not all(row.begun for row in _all(open_)):
                open_ = self._begin(open_, checked)
                if not all(row.begun for row in _all(open_)):
                    continue  # another process has renamed a queue since: look the new name up, too
            report = self._provision(open_)
            self._refuse(open_, report)
            if report.foreign:
                self._rename(open_, frozenset(report.foreign), begun=True)
                continue
            return self._activate(open_, report, locks)
        return {}

    def finish_overdue(self, limit: int = 100) -> int:
        """Take over at most `limit` claims whose lease has ended and finish them; how many.

        Blocks as `advance`; raises `UnavailableError`.
        """
        done = 0
        overdue = self.graph.overdue_claims(limit)
        for each in overdue:
            done += self._take_over(each)
        for each in overdue:  # one of them may have joined a queue of another one
            self._activate_version(each)
        return done

    def _begin(self, open_: Mapping[str, ClaimRows], checked: frozenset[str]) -> dict[str, ClaimRows]:
        """Mark the checked queues as begun, in transactions of bounded size: together these claims may be larger than any
        that the store has memory for."""
        owner, lease_ms = self.options.owner, self.options.policy.lease_ms
        begun: dict[str, ClaimRows] = {}
        for part in _parts(open_):
            begun |= self.graph.transact(
                partial(begin, claims=part, checked=checked, owner=owner, lease_ms=lease_ms)
            )
        return begun

    def _provision(self, open_: Mapping[str, ClaimRows]) -> Provisioned:
        """Provision, and renew the leases after each third of their length (docs/semantics.md 6)."""
        worked_s = 0.0

        def pause(seconds: float) -> None:
            nonlocal worked_s
            worked_s += seconds
            self.sleep(seconds)

        def renew_leases() -> None:
            nonlocal worked_s
            lease_ms = self.options.policy.lease_ms
            if worked_s * 1000 * 3 >= lease_ms:
                worked_s = 0.0
                ids, owner = (*open_, *self.queued()), self.options.owner
                self.graph.transact(partial(renew, claim_ids=ids, owner=owner, lease_ms=lease_ms))

        return provision(self.topics, _all(open_), pause, renew_leases)

    def _rename(self, open_: dict[str, ClaimRows], foreign: frozenset[str], *, begun: bool) -> None:
        for each, rows in list(open_.items()):
            if any(row.topic in foreign for row in rows):
                work = partial(rename, claim_id=each, foreign=foreign, owner=self.options.owner, begun=begun)
                try:
                    open_[each] = self.graph.transact(work)
                except ClaimLostError:
                    del open_[each]

    def _refuse(self, open_: dict[str, ClaimRows], report: Provisioned) -> None:
        for each, rows in list(open_.items()):
            refused = {row.topic: report.refused[row.topic] for row in rows if row.topic in report.refused}
            if refused:
                refused |= {
                    row.topic: "another program's topic" for row in rows if row.topic in report.foreign
                }
                work = partial(refuse, claim_id=each, refused=refused, owner=self.options.owner)
                try:
                    self.graph.transact(work)
                    # Its other topics exist by now. Activated, the next submission can reuse them.
                    self._activate({each: rows}, report, {})
                except ClaimLostError:
                    pass
                del open_[each]

    def _activate(
        self, open_: Mapping[str, ClaimRows], report: Provisioned, locks: Mapping[str, Locks]
    ) -> dict[str, frozenset[str]]:
        """The activated topics of the claims that still belonged to this process.

        The log comes first: invariant 2 of ARCHITECTURE.md. A crash in between leaves a line that is repeated later.
        """
        self._log(open_, report)
        ids = {topic: info.topic_id for topic, info in report.ready.items()}
        found = {each: self._activated(each, ids, locks.get(each, NO_LOCKS)) for each in open_}
        return {each: topics for each, topics in found.items() if isinstance(topics, frozenset)}

    def _activated(
        self, each: str, ids: Mapping[str, str], locks: Locks = NO_LOCKS
    ) -> frozenset[str] | Rejection | None:
        """The topics that this activated, or why the claim was refused; None when another process owns it."""
        owner = self.options.owner
        try:
            return activate_in(self.graph, each, ids, owner, locks)
        except StoreMemoryError as error:
            with suppress(ClaimLostError):
                return refuse_too_large(self.graph, each, ids, owner, error)
        except ClaimLostError:
            pass
        return None

    def _log(self, open_: Mapping[str, ClaimRows], report: Provisioned) -> None:
        """Append a `create` entry for each topic that is ready (R3)."""
        now_ms = self.graph.epoch_reading(()).now_ms
        self.admin_log.append(
            [
                AdminEntry(
                    AdminAction.CREATE,
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

    def _advanced(self, item: InProgress) -> InProgress | Answer:
        """The answer, if every queue that it names is active now.

        The new owner of a lost claim may still choose other names, so its outcome is read again after the look.
        """
        submission, one = item.submission, item.claimed
        lost = bool(one.provision) and item.active is None
        decided = frozenset(row.topic for row in one.provision)
        # Everything that was decided was activated under its name by this process: the outcome is still the one here.
        whole = decided == (item.active or frozenset())
        result = one.outcome if whole else self._stored(submission, one)
        if isinstance(result, Rejection):
            return Answer(submission, result, one.replayed)
        active = self._are_active(result.topics if lost else one.joined)
        if active is None or (lost and self._stored(submission, one) != result):
            return item
        if active:
            refused = self._activate_version(claim_id(submission)) if one.joined else None
            return Answer(submission, refused or result, one.replayed)
        # A queue that this submission joined has failed. The answer was not published yet: decide again.
        again = claim_in(self.graph, submission, self.options)
        return (
            Answer(submission, again, one.replayed)
            if isinstance(again, Rejection)
            else InProgress(submission, again)
        )

    def _activate_version(self, each: str) -> Rejection | None:
        """Activate a version that waited for queues of rivals; why it was refused, if it was."""
        found = self._activated(each, {})  # a new owner would activate it
        return found if isinstance(found, Rejection) else None

    def _stored(self, submission: Submission, one: Claimed) -> Outcome | Rejection:
        """The outcome as it is stored now: another process may have chosen other names."""
        each = claim_id(submission)
        row = self.graph.known(LookupKeys(outcomes=frozenset({each}))).outcomes.get(each)
        return decode(row.body) if row is not None and row.body else one.outcome

    def _are_active(self, topics: tuple[str, ...]) -> bool | None:
        """Whether these topics are active; None while some are still provisioned, False when one of them is gone.

        Claims whose lease has ended are taken over and finished here, so a wait ends even when the rival died.
        """
        while topics:
            found = self.graph.transact(partial(_queues_now, topics=topics))
            now_ms, rows = found
            # A queue that its owner renamed is gone, too: the old row stays as a failed tombstone.
            if len(rows) < len(topics) or any(row.state in GONE for row in rows.values()):
                return False
            waiting = [row for row in rows.values() if row.state is QueueState.PROVISIONING]
            if not waiting:
                return True
            # Own claims are finished before the look: one that is still open was left by an earlier failure.
            mine = self.options.owner
            overdue = sorted(
                {row.claim_id for row in waiting if row.lease_until_ms <= now_ms or row.owner == mine}
            )
            if not sum(self._take_over(each) for each in overdue):
                return None
        return True

    def _take_over(self, each: str) -> int:
        options = self.options
        queues, sentinels = self.graph.transact(
            lambda tx: take_over(tx, each, options.owner, options.policy.lease_ms, only_overdue=True)
        )
        if not queues and not sentinels:
            return 0
        self.bring_up({each: Unfinished(queues)})
        self._refuse_abandoned(each)
        return 1

    def _refuse_abandoned(self, each: str) -> None:
        """Refuse a claim that was abandoned and had joined a queue that failed since."""
        work = partial(give_up, claim_id=each, owner=self.options.owner)
        with suppress(ClaimLostError):
            self.graph.transact(work)


def _brought_up(item: InProgress, done: Mapping[str, frozenset[str]]) -> InProgress:
    if item.brought_up:
        return item
    return msgspec.structs.replace(item, brought_up=True, active=done.get(claim_id(item.submission)))


def _queues_now(tx: Transaction, topics: tuple[str, ...]) -> tuple[int, Mapping[str, QueueRow]]:
    return tx.now_ms(), tx.queues_by_topic(topics)


def _parts(open_: Mapping[str, ClaimRows]) -> Iterator[dict[str, ClaimRows]]:
    """The claims in order, in parts of at most `BEGUN_PER_TRANSACTION` queues, or of one claim."""
    part: dict[str, ClaimRows] = {}
    for each, rows in open_.items():
        if part and len(rows) + len(_all(part)) > BEGUN_PER_TRANSACTION:
            yield part
            part = {}
        part[each] = rows
    if part:
        yield part


def _all(open_: Mapping[str, ClaimRows]) -> list[QueueRow]:
    return [row for rows in open_.values() for row in rows]
