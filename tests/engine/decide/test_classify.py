"""The two tables of docs/semantics.md 3, row by row; time, dependencies, and a naive twin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.dag.model import Submission
from dagmanager.engine.decide.build_outcome import build_outcome
from dagmanager.engine.decide.classify import bindings, classify
from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.model.graph_port import Known
from dagmanager.engine.model.plan import (
    BufferNode,
    CreateNode,
    IsolateNode,
    Plan,
    Reason,
    ReuseNode,
    SchemaEffect,
)
from dagmanager.engine.model.policy import DAY_MS
from dagmanager.engine.model.rows import GONE, Binding, NodeRow, QueueRow, QueueState, SchemaSeen
from dagmanager.errors import ErrorCode, Rejection
from tests.engine.builders import POLICY, START_MS, node, submission

WEEK_MS = 7 * DAY_MS
SPEC = POLICY.topic_spec("indicator", 1)
OURS, RIVAL = "ours", "rival"
PLAIN = node("mean", schema_hash="now")
UNHASHED = node("mean")


def known(
    nodes: list[NodeRow], queues: list[QueueRow], now_ms: int = START_MS, safe_topics: int = 0
) -> Known:
    return Known(
        nodes={row.node_id: row for row in nodes},
        queues={row.binding: row for row in queues},
        epoch=0,
        safe_topics=safe_topics,
        now_ms=now_ms,
    )


def row_of(one: Submission, position: int = 0, **fields: Any) -> NodeRow:
    found = one.dag.nodes[position]
    row = NodeRow(
        found.node_id,
        found.node_type,
        found.interval,
        found.period,
        found.params_canon,
        found.dependencies,
        found.schema_compat_id,
        found.code_hash,
        0,
        "base",
        "indicator",
        schema_hash="now",
        schemas=(
            SchemaSeen("now", START_MS),
            SchemaSeen("recent", START_MS),
            SchemaSeen("old", START_MS - WEEK_MS),
        ),
    )
    return msgspec.structs.replace(row, **fields)


def queue_of(binding: Binding, state: QueueState = QueueState.ACTIVE, **fields: Any) -> QueueRow:
    row = QueueRow("the.topic", binding, state, 3, SPEC, "indicator", 77, 0)
    return msgspec.structs.replace(row, **fields)


def plan_of(one: Submission, facts: Known, ours: str = OURS, **policy: Any) -> Plan:
    plan = classify(one, facts, msgspec.structs.replace(POLICY, **policy), ours)
    assert isinstance(plan, Plan), plan
    return plan


# --- the first table: the queue, by state and owner

NEW = ("create", Reason.NEW_NODE, 1)
BOUND = ("create", Reason.NEW_BINDING, 1)
AGAIN = ("create", Reason.RESURRECTED, 4)
MINE = ("create", Reason.NEW_BINDING, 3)
JOINED = ("reuse", Reason.JOINED, 0)
SAME = ("reuse", Reason.SAME_SPEC, 0)
OWNERS = ("", OURS, RIVAL)

QUEUE_TABLE = [
    *(("unknown", state, owner, NEW) for state in (None, *QueueState) for owner in OWNERS),
    *(("safe_only", state, owner, NEW) for state in (None, *QueueState) for owner in OWNERS),
    *(("known", None, owner, BOUND) for owner in OWNERS),
    *(("known", state, owner, AGAIN) for state in sorted(GONE) for owner in OWNERS),
    ("known", QueueState.PROVISIONING, OURS, MINE),
    ("known", QueueState.PROVISIONING, RIVAL, JOINED),
    ("known", QueueState.PROVISIONING, "", JOINED),
    *(("known", QueueState.ACTIVE, owner, SAME) for owner in OWNERS),
]


@pytest.mark.parametrize(("which", "state", "owner", "expected"), QUEUE_TABLE)
@pytest.mark.parametrize("free", [None, 5])
def test_the_queue_decides_first(
    which: str, state: QueueState | None, owner: str, expected: tuple[str, Reason, int], free: int | None
) -> None:
    one = submission([PLAIN])
    (binding,) = bindings(one)
    nodes = [] if which == "unknown" else [row_of(one, safe_only=which == "safe_only")]
    queues = [] if state is None else [queue_of(binding, state, claim_id=owner, unreferenced_ms=free)]
    (action,) = plan_of(one, known(nodes, queues)).actions
    kind, reason, incarnation = expected
    assert action.reason == reason
    assert (kind == "create") == isinstance(action, CreateNode)
    if isinstance(action, CreateNode):
        assert action.incarnation == incarnation
        assert action.known == (which != "unknown")
        assert (action.predecessor is not None) == (reason is Reason.RESURRECTED)
        assert action.topic == ("the.topic" if expected is MINE else "")
    else:
        assert action.topic == "the.topic"


# --- the second table: the schema, on every reuse


@dataclass(frozen=True)
class Sent:
    """What was submitted, what is stored, and what follows."""

    sent: str
    stored: str
    buffering: int | None
    reason: Reason
    effect: SchemaEffect = SchemaEffect.NONE


N, A, C = SchemaEffect.NONE, SchemaEffect.ADOPT, SchemaEffect.BECOMES_CURRENT
STILL, CHANGED, OLDER = Reason.STILL_BUFFERING, Reason.SCHEMA_CHANGED, Reason.SCHEMA_OLDER
SCHEMA_TABLE = [
    *(Sent("", stored, since, Reason.SAME_SPEC) for stored in ("", "now") for since in (None, START_MS)),
    *(Sent("now", "", since, Reason.SAME_SPEC, A) for since in (None, START_MS)),
    Sent("now", "now", None, Reason.SAME_SPEC),
    Sent("now", "now", START_MS, STILL),
    Sent("now", "now", START_MS - WEEK_MS + 1, STILL),
    Sent("now", "now", START_MS - WEEK_MS, Reason.SAME_SPEC),
    *(Sent("never", "now", since, CHANGED, C) for since in (None, START_MS)),
    *(Sent("old", "now", since, CHANGED, C) for since in (None, START_MS)),
    *(Sent("recent", "now", since, OLDER) for since in (None, START_MS)),
]


@pytest.mark.parametrize("state", [QueueState.ACTIVE, QueueState.PROVISIONING])
@pytest.mark.parametrize("case", SCHEMA_TABLE, ids=str)
def test_the_schema_decides_every_reuse(case: Sent, state: QueueState) -> None:
    one = submission([PLAIN | {"schema_hash": case.sent}])
    (binding,) = bindings(one)
    row = row_of(one, schema_hash=case.stored, buffering_since_ms=case.buffering)
    facts = known([row], [queue_of(binding, state, claim_id=RIVAL)])
    plan = plan_of(one, facts)
    (action,) = plan.actions
    assert isinstance(action, ReuseNode | BufferNode)
    assert (action.node, action.binding, action.topic) == (one.dag.nodes[0], binding, "the.topic")
    assert action.schema is case.effect
    buffers = case.reason is not Reason.SAME_SPEC
    assert isinstance(action, BufferNode) == buffers
    if isinstance(action, BufferNode):
        assert (action.reason, action.lag) == (case.reason, 5)
    else:
        assert action.reason == (Reason.SAME_SPEC if state is QueueState.ACTIVE else Reason.JOINED)
    assert plan.plain == (state is QueueState.ACTIVE and not buffers and case.effect is N)


@pytest.mark.parametrize(("at", "clock"), [(0, 9_999), (9_999, 0), (0, 0)])
@pytest.mark.parametrize(("moved", "over"), [(-1, False), (0, True), (1, True)])
def test_deadlines_compare_the_earlier_of_record_and_clock(
    at: int, clock: int, moved: int, over: bool
) -> None:
    one = submission([PLAIN], at_ms=START_MS + at)
    (binding,) = bindings(one)
    row = row_of(one, buffering_since_ms=START_MS - WEEK_MS - moved)
    (action,) = plan_of(one, known([row], [queue_of(binding)], START_MS + clock)).actions
    assert isinstance(action, ReuseNode) == over
    older = submission([PLAIN | {"schema_hash": "h"}], at_ms=START_MS + at)
    row = row_of(one, schemas=(SchemaSeen("h", START_MS - WEEK_MS - moved),))
    (action,) = plan_of(older, known([row], [queue_of(binding)], START_MS + clock)).actions
    assert action.reason == (CHANGED if over else OLDER)


# --- safe mode


@pytest.mark.parametrize("state", [None, *QueueState])
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("over", [False, True])
def test_safe_mode_isolates_every_node(state: QueueState | None, owner: str, over: bool) -> None:
    one = submission([PLAIN], domain="backtest")
    (binding,) = bindings(one)
    assert binding.safe
    shared = queue_of(Binding(binding.node_id, ""), topic="shared")
    until = START_MS if over else START_MS + 1
    own = [] if state is None else [queue_of(binding, state, claim_id=owner, expires_ms=until)]
    (action,) = plan_of(one, known([row_of(one)], [shared, *own])).actions
    assert isinstance(action, IsolateNode)
    assert action.reason == f"safe_mode:{one.context.safe_mode}"
    lives = state in (QueueState.ACTIVE, QueueState.PROVISIONING) and not over
    assert action.topic == ("the.topic" if lives else "")
    assert action.incarnation == (1 if state is None else 3 if lives else 4)
    assert action.exists == (lives and not (state is QueueState.PROVISIONING and owner == OURS))


@pytest.mark.parametrize("expired", [0, 1, 2])
@pytest.mark.parametrize(("taken", "fits"), [(8, True), (9, False)])
def test_safe_mode_is_refused_above_its_limit(taken: int, fits: bool, expired: int) -> None:
    one = submission([PLAIN, node("other")], domain="backtest")
    policy = msgspec.structs.replace(POLICY, safe_mode_max_topics=10)
    # An expired queue counts as a new one.
    over = [queue_of(each, expires_ms=START_MS) for each in bindings(one)[:expired]]
    plan = classify(one, known([], over, safe_topics=taken), policy, OURS)
    assert isinstance(plan, Plan) == fits
    if isinstance(plan, Rejection):
        assert plan.code is ErrorCode.RATE_LIMITED
        assert (plan.field, plan.expected, plan.got) == ("execution_domain", "10", "11")
        assert "9 topics and 2 more" in plan.message


def test_queues_of_safe_mode_belong_to_one_lineage_content_and_context() -> None:
    def safe_of(*nodes: dict[str, Any], **fields: Any) -> str:
        return bindings(submission(list(nodes), domain="backtest", **fields))[0].safe

    alone = safe_of(PLAIN)
    assert safe_of(PLAIN, strategy="another") == alone
    others = [safe_of(PLAIN, node("other")), safe_of(PLAIN, lineage="beta"), safe_of(PLAIN, world="w7")]
    assert len({alone, *others}) == 4


def test_safe_mode_is_not_refused_when_all_its_queues_exist() -> None:
    one = submission([PLAIN], domain="backtest")
    policy = msgspec.structs.replace(POLICY, safe_mode_max_topics=10)
    (binding,) = bindings(one)
    plan = classify(one, known([], [queue_of(binding)], safe_topics=99), policy, OURS)
    assert isinstance(plan, Plan)
    assert plan.plain is False
    (action,) = plan.actions
    assert (action.node, action.binding) == (one.dag.nodes[0], binding)


# --- dependencies outside the DAG


def test_strict_refuses_only_what_the_graph_does_not_know() -> None:
    far, near = node("far"), node("near")
    one = submission([node("child", inputs=[far, near])])
    strict = msgspec.structs.replace(POLICY, strict_dependencies=True)
    refusal = classify(one, known([row_of(submission([near]))], []), strict, OURS)
    assert isinstance(refusal, Rejection)
    assert refusal.code is ErrorCode.UNRESOLVED_DEPENDENCIES
    assert [each["dependency"] for each in refusal.details] == [far["node_id"]]
    assert (refusal.field, refusal.node_id) == ("/nodes", one.dag.nodes[0].node_id)
    assert refusal.message.startswith("1 dependencies are neither")
    both = known([row_of(submission([near])), row_of(submission([far]))], [])
    assert isinstance(classify(one, both, strict, OURS), Plan)


def test_strict_names_the_first_100_dependencies() -> None:
    far = [node(f"far{number}") for number in range(101)]
    strict = msgspec.structs.replace(POLICY, strict_dependencies=True)
    refusal = classify(submission([node("child", inputs=far)]), known([], []), strict, OURS)
    assert isinstance(refusal, Rejection)
    assert len(refusal.details) == 100
    assert refusal.message.startswith("101 dependencies")


@pytest.mark.parametrize("seen", range(3))
def test_a_dependency_that_the_graph_knows_is_no_warning(seen: int) -> None:
    outside = [node("far"), node("near")]
    one = submission([node("child", inputs=outside)])
    facts = known([row_of(submission([each])) for each in outside[:seen]], [])
    outcome = build_outcome(one, plan_of(one, facts), {}, facts)
    left = [dependency for notice in outcome.warnings for dependency in notice.details]
    assert left == sorted(each["node_id"] for each in outside[seen:])


# --- any input


NAMES = [node(f"n{number}", schema_hash="now") for number in range(4)]
STATES = st.sampled_from([None, *QueueState])
FACTS = st.tuples(
    st.booleans(),
    st.booleans(),
    STATES,
    st.sampled_from(OWNERS),
    st.sampled_from(["", "now", "recent", "old"]),
    st.sampled_from(["", "now", "recent", "old", "never"]),
    st.sampled_from([None, START_MS, START_MS - WEEK_MS]),
)


def facts_of(drawn: list[tuple[Any, ...]]) -> tuple[Submission, Known]:
    one = submission([each | {"schema_hash": fact[5]} for each, fact in zip(NAMES, drawn, strict=True)])
    nodes, queues = [], []
    for position, (is_known, safe_only, state, owner, stored, _, since) in enumerate(drawn):
        binding = bindings(one)[position]
        if is_known:
            nodes.append(
                row_of(one, position, safe_only=safe_only, schema_hash=stored, buffering_since_ms=since)
            )
        if state is not None:
            queues.append(queue_of(binding, state, claim_id=owner, topic=f"t{position}"))
    return one, known(nodes, queues)


def naive(fact: tuple[Any, ...]) -> str:
    """docs/semantics.md 3, as one would read it aloud."""
    is_known, safe_only, state, owner, stored, sent, since = fact
    if not is_known or safe_only:
        return "new_node"
    if state is None:
        return "new_binding"
    if state not in (QueueState.ACTIVE, QueueState.PROVISIONING):
        return "resurrected"
    if state is QueueState.PROVISIONING and owner == OURS:
        return "new_binding"
    calm = "same_spec" if state is QueueState.ACTIVE else "joined"
    if not sent or not stored:
        return calm
    if sent == stored:
        return "still_buffering" if since == START_MS else calm
    return "schema_older" if sent in ("now", "recent") else "schema_changed"


@given(st.lists(FACTS, min_size=4, max_size=4))
def test_a_naive_twin_agrees(drawn: list[tuple[Any, ...]]) -> None:
    one, facts = facts_of(drawn)
    plan = plan_of(one, facts)
    assert [str(action.reason) for action in plan.actions] == [naive(fact) for fact in drawn]
    assert plan_of(one, facts) == plan


@given(st.lists(FACTS, min_size=4, max_size=4))
def test_the_order_of_nodes_changes_no_action(drawn: list[tuple[Any, ...]]) -> None:
    one, facts = facts_of(drawn)
    plan = plan_of(one, facts)
    for order in itertools.islice(itertools.permutations(one.dag.nodes), 1, 24, 7):
        dag = msgspec.structs.replace(one.dag, nodes=order)
        turned = msgspec.structs.replace(one, dag=dag)
        other = plan_of(turned, facts)
        assert {each.binding: each for each in other.actions} == {each.binding: each for each in plan.actions}
        assert [each.node for each in other.actions] == list(order)
        assert other.plain == plan.plain


def test_a_claim_is_one_submission_in_one_world() -> None:
    first, second = (submission([PLAIN], world=world) for world in ("w1", "w2"))
    assert claim_id(first) != claim_id(second)
    assert claim_id(first) == f"{first.submission_id}|w1"
