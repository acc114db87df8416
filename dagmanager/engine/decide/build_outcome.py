"""Builds the answer to a submission from its plan and the topics, and merges one that was decided again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from dagmanager.dag.model import Notice, Submission
from dagmanager.dag.record.compute_key import compute_key, partition_key
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.outcome import (
    ActionCounts,
    Outcome,
    buffer_instruction,
    count_actions,
    decode,
    sentinel_id,
)
from dagmanager.engine.model.plan import BufferNode, Plan
from dagmanager.engine.model.rows import Binding, OutcomeRow
from dagmanager.errors import NoticeCode


def build_outcome(
    submission: Submission,
    plan: Plan,
    topics: Mapping[Binding, str],
    known: Known,
    warnings: tuple[Notice, ...] = (),
) -> Outcome:
    """The outcome of a plan: one item per node, in the DAG's order.

    `topics` are the topics of created queues; other nodes have theirs in the plan. `warnings` come after those of the
    submission and of the plan.
    """
    context = submission.context
    # From a list, not a generator: a quarter faster, for up to thousands of nodes in each answer.
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


def merge_redecided(stored: OutcomeRow, decided: Outcome, plan: Plan, failed: frozenset[str]) -> Outcome:
    """The stored answer with only the nodes of `failed` topics taken from the new decision.

    `plan` and `decided` are the whole submission, decided again. The new decision cannot replace the stored answer as a
    whole: it counts what this claim created before as reused.
    """
    before = decode(stored.body)
    if not isinstance(before, Outcome):
        return decided
    topics, buffered = dict(before.items), {each.node_id for each in before.buffers}
    counts = Counter(msgspec.structs.asdict(before.actions))
    replaced: set[str] = set()
    for action, (key, _) in zip(plan.actions, decided.items, strict=True):
        if topics[key] in failed:
            node_id = action.node.node_id
            # Only queues that it had joined fail under a stored answer: they counted as one of these three.
            counts["isolate" if before.safe_mode else "buffer" if node_id in buffered else "reuse"] -= 1
            counts.update(msgspec.structs.asdict(count_actions((action,))))
            replaced.add(node_id)
    buffers = [each for each in before.buffers if each.node_id not in replaced]
    buffers += [each for each in decided.buffers if each.node_id in replaced]
    position = {action.node.node_id: number for number, action in enumerate(plan.actions)}
    return msgspec.structs.replace(
        before,
        items=decided.items,
        buffers=tuple(sorted(buffers, key=lambda each: position[each.node_id])),
        actions=ActionCounts(**counts),
    )


def _still_unresolved(submission: Submission, known: Known) -> tuple[Notice, ...]:
    """The submission's warnings, without dependencies that the graph knows (docs/semantics.md 2).

    Reading the bytes cannot know them: a dependency outside the DAG may belong to another strategy.
    """
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
