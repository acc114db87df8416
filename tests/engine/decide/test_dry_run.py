from __future__ import annotations

import pytest

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.classify import classify
from dagmanager.engine.decide.dry_run import provisional_outcome, provisional_topics
from dagmanager.engine.decide.topic_names import topic_name
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import NodeRow
from tests.engine.builders import POLICY, START_MS, Stores, accepted, engine, node, submission

PRICE, MEAN = node("price", tags=["BTC"]), node("mean")
NOTHING = Known(nodes={}, queues={}, epoch=0, safe_topics=0, now_ms=START_MS)
# A shared queue of the default world, one of another world, and one of safe mode.
CONTEXTS: list[dict[str, str]] = [{}, {"domain": "shadow", "world": "w7"}, {"domain": "backtest"}]


def planned(one: Submission, known: Known) -> Plan:
    plan = classify(one, known, POLICY, "claim")
    assert isinstance(plan, Plan)
    return plan


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_topics_are_those_that_the_real_run_creates(context: dict[str, str]) -> None:
    one = submission([PRICE, MEAN], **context)
    (answer,) = engine(Stores()).submit([one])
    plan = planned(one, NOTHING)
    topics = provisional_topics(one, plan, NOTHING)
    assert sorted(topics.values()) == sorted(accepted(answer).topics)
    assert provisional_outcome(one, plan, NOTHING).items == accepted(answer).items


def test_a_known_node_keeps_its_base_name() -> None:
    stores = Stores()
    engine(stores).submit([submission([PRICE])])
    one = submission([PRICE], domain="backtest")
    nodes = {row.node_id: row for row in stores.rows(NodeRow)}
    known = Known(nodes=nodes, queues={}, epoch=0, safe_topics=0, now_ms=START_MS)
    plan = planned(one, known)
    (action,) = plan.actions
    base = nodes[PRICE["node_id"]].base_name
    expected = topic_name(base, action.binding.namespace, 1, action.binding.safe)
    assert provisional_topics(one, plan, known) == {action.binding: expected}
