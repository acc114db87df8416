from __future__ import annotations

import msgspec
import pytest

from dagmanager.dag.model import Notice
from dagmanager.dag.record.compute_key import compute_key
from dagmanager.engine.decide.build_outcome import build_outcome, merge_redecided
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.outcome import ActionCounts, Outcome, buffer_instruction, encode
from dagmanager.engine.model.plan import Plan
from dagmanager.engine.model.rows import OutcomeRow
from dagmanager.errors import ErrorCode, NoticeCode, Rejection
from tests.engine.builders import POLICY, START_MS, node, submission
from tests.graph import builders as rows

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


def redecided(*, buffered: bool = False) -> tuple[Outcome, Outcome]:
    """A stored answer that had joined the queue of its second node, merged after that queue failed; and the stored one."""
    one = submission([node("price"), node("mean", inputs=[node("price")])])
    plan = classify(one, NOTHING, POLICY, "claim")
    assert isinstance(plan, Plan)
    first, second = bindings(one)
    decided = build_outcome(one, plan, {first: "topic.0", second: "topic.1_v2"}, NOTHING)
    before = msgspec.structs.replace(
        build_outcome(one, plan, {first: "topic.0", second: "topic.1"}, NOTHING),
        actions=ActionCounts(create=1, buffer=1) if buffered else ActionCounts(create=1, reuse=1),
        buffers=(buffer_instruction(one.dag.nodes[1], 0),) if buffered else (),
        warnings=(Notice(NoticeCode.ONLY_VERSION, "kept"),),
    )
    stored = OutcomeRow("claim", encode(before), before.topics, START_MS)
    return merge_redecided(stored, decided, plan, frozenset({"topic.1"})), before


@pytest.mark.parametrize("buffered", [False, True])
def test_only_nodes_of_failed_queues_are_taken_from_a_new_decision(buffered: bool) -> None:
    merged, before = redecided(buffered=buffered)
    assert [topic for _, topic in merged.items] == ["topic.0", "topic.1_v2"]
    assert merged.actions == ActionCounts(create=2)
    assert merged.buffers == ()
    assert merged.warnings == before.warnings


def test_a_stored_refusal_is_replaced_whole() -> None:
    one = submission([node("price")])
    plan = classify(one, NOTHING, POLICY, "claim")
    assert isinstance(plan, Plan)
    decided = build_outcome(one, plan, dict.fromkeys(bindings(one), "t"), NOTHING)
    stored = OutcomeRow("claim", encode(Rejection(ErrorCode.EXPIRED, "gone")), (), START_MS)
    assert merge_redecided(stored, decided, plan, frozenset({"t"})) == decided


def test_dependencies_that_the_graph_knows_are_left_out_of_the_warning() -> None:
    known_id, unknown_id = (node(name)["node_id"] for name in ("a", "b"))
    one = submission([node("mean", inputs=[known_id, unknown_id])])
    plan = classify(one, NOTHING, POLICY, "claim")
    assert isinstance(plan, Plan)

    def warned(*node_ids: str) -> list[tuple[object, ...]]:
        known = msgspec.structs.replace(NOTHING, nodes={each: rows.node(each) for each in node_ids})
        return [each.details for each in build_outcome(one, plan, {}, known).warnings]

    assert warned() == [tuple(sorted([known_id, unknown_id]))]
    assert warned(known_id) == [(unknown_id,)]
    assert warned(known_id, unknown_id) == []
