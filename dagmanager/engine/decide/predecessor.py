"""The version of a lineage that a submission would replace."""

from __future__ import annotations

from dagmanager.dag.model import Submission
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.version_rows import LineageKey, SentinelRow, SentinelState

IN_FORCE = (SentinelState.ACTIVE, SentinelState.PENDING)


def predecessor(submission: Submission, known: Known) -> SentinelRow | None:
    """The active or pending sentinel with the largest weight, of those the newest; None in safe mode or without one.

    Pending ones count: a submission right after another follows that one, although its topics are not ready yet.
    """
    if submission.context.safe_mode:
        return None
    lineage = LineageKey(submission.dag.lineage, submission.context.namespace)
    # By weight first: the TTL and the names of a canary are not those of the version that most consumers read.
    in_force = [row for row in known.sentinels.get(lineage, ()) if row.state in IN_FORCE]
    return max(in_force, key=lambda row: (row.weight, row.created_ms), default=None)
