"""Keys and requests of one submission: its claim id, lineage, holder, lookup keys and version request."""

from __future__ import annotations

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.next_version import next_version
from dagmanager.engine.model.graph_port import Known, LookupKeys
from dagmanager.engine.model.rows import Binding, HolderKey, LineageKey
from dagmanager.engine.model.version_change import VersionChange, VersionRequest
from dagmanager.errors import Rejection


def claim_id(submission: Submission) -> str:
    """Submission id and world: one outcome per world (docs/semantics.md 2)."""
    return f"{submission.submission_id}|{submission.context.world_id}"


def lineage_key(submission: Submission) -> LineageKey:
    """Whose versions this submission is about."""
    return LineageKey(submission.dag.lineage, submission.context.namespace)


def holder_key(submission: Submission) -> HolderKey:
    """Who asks, in which namespace."""
    return HolderKey(submission.strategy_id, submission.context.namespace)


def lookup_keys(submission: Submission, wanted: tuple[Binding, ...]) -> LookupKeys:
    """Everything that deciding this submission reads; `wanted` are its `bindings`."""
    context = submission.context
    outside = [Binding(node_id, context.namespace) for node_id in submission.dag.external]
    return LookupKeys(
        bindings=frozenset(wanted).union(outside),
        lineages=frozenset() if context.safe_mode else frozenset({lineage_key(submission)}),
        holders=frozenset() if context.safe_mode else frozenset({holder_key(submission)}),
        outcomes=frozenset({claim_id(submission)}),
    )


def version_request(submission: Submission) -> VersionRequest:
    """What this submission asks of its lineage."""
    dag, context = submission.dag, submission.context
    return VersionRequest(
        key=lineage_key(submission),
        version=dag.version,
        content=dag.content_digest,
        weight=dag.weight,
        strategy_id=submission.strategy_id,
        submission_digest=submission.submission_digest,
        at_ms=submission.at_ms,
        position=submission.record.origin.position if submission.record is not None else 0,
        commit_hash=dag.commit_hash,
        world_id=context.world_id,
        execution_domain=context.execution_domain,
    )


def version_change(submission: Submission, known: Known) -> VersionChange | Rejection | None:
    """What this submission does to its lineage; None in safe mode (no sentinel there)."""
    if submission.context.safe_mode:
        return None
    key = lineage_key(submission)
    return next_version(
        known.sentinels.get(key, ()),
        known.lineages.get(key),
        known.holders.get(holder_key(submission)),
        version_request(submission),
    )
