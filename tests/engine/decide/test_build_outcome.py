from __future__ import annotations

from dagmanager.dag.record.compute_key import compute_key
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.submission_keys import version_request
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import LineageKey
from tests.engine.builders import POLICY, START_MS, node, submission

NOTHING = Known(nodes={}, queues={}, epoch=0, safe_topics=0, now_ms=START_MS)


def test_an_item_is_the_partition_key_of_a_node_and_its_topic() -> None:
    one = submission([node("price", interval=60), node("mean", interval=3600)])
    plan = classify(one, NOTHING, POLICY, "claim")
    assert isinstance(plan, Plan)
    topics = dict(zip(bindings(one), ("topic.0", "topic.1"), strict=True))
    first, second = (found.node_id for found in one.dag.nodes)
    intervals = [found.interval for found in one.dag.nodes]
    assert sorted(intervals) == [60, 3600]
    assert build_outcome(one, plan, topics, NOTHING).items == (
        (f"{first}:{intervals[0]}:0#ck={compute_key(first, one.context)}", "topic.0"),
        (f"{second}:{intervals[1]}:0#ck={compute_key(second, one.context)}", "topic.1"),
    )


def test_a_request_for_a_version_is_the_submission_as_it_was_read() -> None:
    one = submission([node("price")], strategy="s9", position=7, lineage="beta")
    asked = version_request(one)
    assert asked.key == LineageKey("beta", asked.key.namespace)
    assert (asked.strategy_id, asked.position, asked.submission_digest) == ("s9", 7, one.submission_digest)
    assert (asked.commit_hash, asked.content) == (one.dag.commit_hash, one.dag.content_digest)
