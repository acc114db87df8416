"""The keys of one submission: its claim, lineage and holder, what a look-up reads, what it asks of its lineage."""

from __future__ import annotations

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.decide.node_conflicts import smaller_ids
from dagmanager.engine.model.graph_port import Known, LookupKeys
from dagmanager.engine.model.rows import Binding
from dagmanager.engine.model.version_change import VersionChange, VersionRequest
from dagmanager.engine.model.version_rows import HolderKey, LineageKey
from dagmanager.errors import Rejection


def claim_id(submission: Submission) -> str:
    """Submission id and world, joined by `|`: one claim and one outcome per world (docs/semantics.md 2)."""
    # The submission id holds the record's place: a repeat of the bytes is another submission, a replay the same one.
    return f"{submission.submission_id}|{submission.context.world_id}"


def lineage_key(submission: Submission) -> LineageKey:
    """The lineage that this submission adds a version to."""
    return LineageKey(submission.dag.lineage, submission.context.namespace)


def holder_key(submission: Submission) -> HolderKey:
    """The strategy id that submits, in its namespace and world."""
    context = submission.context
    return HolderKey(submission.strategy_id, context.namespace, context.world_id)


def lookup_keys(submission: Submission, wanted: tuple[Binding, ...]) -> LookupKeys:
    """The keys of all rows that deciding this submission needs; `wanted` are its `bindings`.

    In safe mode neither lineage nor holder: such a submission is no version.
    """
    context = submission.context
    # Dependencies outside the DAG, to warn of those that no submission contained.
    outside = [Binding(node_id, context.namespace) for node_id in submission.dag.external]
    return LookupKeys(
        bindings=frozenset(wanted).union(outside),
        nodes=frozenset(
            each for node in submission.dag.nodes if node.collision for each in smaller_ids(node)
        ),
        lineages=frozenset() if context.safe_mode else frozenset({lineage_key(submission)}),
        holders=frozenset() if context.safe_mode else frozenset({holder_key(submission)}),
        outcomes=frozenset({claim_id(submission)}),
    )


def version_request(submission: Submission, now_ms: int) -> VersionRequest:
    """What this submission asks of its lineage. `now_ms` is the store's clock: a record of the future is one of now."""
    dag, context = submission.dag, submission.context
    return VersionRequest(
        key=lineage_key(submission),
        version=dag.version,
        content=dag.content_digest,
        weight=dag.weight,
        strategy_id=submission.strategy_id,
        submission_digest=submission.submission_digest,
        at_ms=min(submission.at_ms, now_ms),
        partition=submission.record.origin.partition,
        position=submission.record.origin.position,
        commit_hash=dag.commit_hash,
        world_id=context.world_id,
        execution_domain=context.execution_domain,
        now_ms=now_ms,
    )


def record_place(submission: Submission, now_ms: int) -> tuple[int, int, int]:
    """The place of its record in the record order. `now_ms` is the store's clock: a record of the future is one of now."""
    origin = submission.record.origin
    return (min(submission.at_ms, now_ms), origin.partition, origin.position)


def version_change(submission: Submission, known: Known) -> VersionChange | Rejection | None:
    """What this submission changes about its lineage, or why it is refused; None in safe mode, which has no versions."""
    if submission.context.safe_mode:
        return None
    key = lineage_key(submission)
    return next_version(
        known.sentinels.get(key, ()),
        known.lineages.get(key),
        known.holders.get(holder_key(submission)),
        version_request(submission, known.now_ms),
    )
