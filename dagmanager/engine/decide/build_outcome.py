"""Plan and topics -> Outcome: what the client is told."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dagmanager.dag.model import Notice, Submission
from dagmanager.dag.record.compute_key import compute_key, partition_key
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.outcome import Outcome, buffer_instruction, count_actions, sentinel_id
from dagmanager.engine.model.plan import BufferNode, Plan
from dagmanager.engine.model.rows import Binding
from dagmanager.errors import NoticeCode


def build_outcome(
    submission: Submission,
    plan: Plan,
    topics: Mapping[Binding, str],
    known: Known,
    warnings: tuple[Notice, ...] = (),
) -> Outcome:
    """One item per node, in the DAG's order; `topics` overrides the plan's own (created ones)."""
    context = submission.context
    items = tuple(
        [
            (
                partition_key(
                    action.node.node_id, action.node.interval, None, compute_key(action.node.node_id, context)
                ),
                topics.get(action.binding) or action.topic,
            )
            for action in plan.actions
        ]
    )
    return Outcome(
        strategy_id=submission.strategy_id,
        world_id=context.world_id,
        submission_id=submission.submission_id,
        submission_digest=submission.submission_digest,
        sentinel_id=sentinel_id(submission.strategy_id),
        version=submission.dag.version,
        crc32=submission.dag.crc32,
        items=items,
        buffers=tuple(
            buffer_instruction(action.node, action.lag)
            for action in plan.actions
            if isinstance(action, BufferNode)
        ),
        actions=count_actions(plan.actions),
        safe_mode=context.safe_mode,
        dry_run=submission.dry_run,
        warnings=(*_still_unresolved(submission, known), *plan.warnings, *warnings),
    )


def _still_unresolved(submission: Submission, known: Known) -> tuple[Notice, ...]:
    """The submission's warnings, without dependencies that the graph turned out to know (docs/semantics.md 2)."""
    found: list[Notice] = []
    for notice in submission.warnings:
        if notice.code is NoticeCode.UNRESOLVED_DEPENDENCIES:
            left = tuple(dependency for dependency in notice.details if dependency not in known.nodes)
            if not left:
                continue
            found.append(msgspec.structs.replace(notice, details=left))
        else:
            found.append(notice)
    return tuple(found)
