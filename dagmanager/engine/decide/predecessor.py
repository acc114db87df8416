"""The version that a submission follows in its lineage."""

from __future__ import annotations

from dagmanager.dag.model import Submission
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.rows import LineageKey, SentinelRow, SentinelState

IN_FORCE = (SentinelState.ACTIVE, SentinelState.PENDING)


def predecessor(submission: Submission, known: Known) -> SentinelRow | None:
    """The version that this one follows: of those in force, the one with the larger share."""
    if submission.context.safe_mode:
        return None
    lineage = LineageKey(submission.dag.lineage, submission.context.namespace)
    standing = [row for row in known.sentinels.get(lineage, ()) if row.state in IN_FORCE]
    return max(standing, key=lambda row: (row.weight, row.created_ms), default=None)
