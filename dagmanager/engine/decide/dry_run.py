"""The answer to a dry run: what the submission would be answered, with provisional topic names."""

from __future__ import annotations

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.topic_names import choose_base_names, needs_base_name, topic_name
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.model.plan import CreateNode, IsolateNode, Plan
from dagmanager.engine.model.rows import Binding


def provisional_topics(submission: Submission, plan: Plan, known: Known) -> dict[Binding, str]:
    """The topic of each queue that the plan would create; another submission may take the name first."""
    created = [action for action in plan.actions if isinstance(action, CreateNode | IsolateNode)]
    unknown = [action.node for action in created if needs_base_name(action, known)]
    names = {node_id: row.base_name for node_id, row in known.nodes.items()}
    # Nothing is taken: asking the graph would not keep the name free until the real submission comes.
    names |= choose_base_names(unknown, submission.dag.version, frozenset())
    return {
        action.binding: action.topic
        or topic_name(
            names[action.node.node_id], action.binding.namespace, action.incarnation, action.binding.safe
        )
        for action in created
    }


def provisional_outcome(submission: Submission, plan: Plan, known: Known) -> Outcome:
    """What the submission would be answered now (docs/semantics.md 2, Dry run)."""
    return build_outcome(submission, plan, provisional_topics(submission, plan, known), known)
