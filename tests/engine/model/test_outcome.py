from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dagmanager.dag.model import Node, Notice
from dagmanager.engine.model.outcome import (
    ActionCounts,
    BufferInstruction,
    Outcome,
    buffer_instruction,
    count_actions,
    decode,
    encode,
    items_digest,
    outcome_digest,
    sentinel_id,
)
from dagmanager.engine.model.plan import Action, BufferNode, CreateNode, IsolateNode, Reason, ReuseNode
from dagmanager.engine.model.rows import Binding
from dagmanager.errors import ErrorCode, NoticeCode, Rejection

NODE = Node("blake3:aa", "Indicator", 60, 20, "null", (), "compat", "code", b"", "schema", ("btc", "x"))
BINDING = Binding(NODE.node_id, "w1.live")
BUFFER = BufferInstruction("blake3:aa", "Indicator", "code", "schema", 60, 20, ("btc", "x"), 20, "compat")
OUTCOME = Outcome(
    strategy_id="s",
    world_id="w1",
    submission_id="sub",
    submission_digest="digest",
    sentinel_id="s-sentinel",
    version="v1",
    crc32=0xFFFFFFFF,
    items=(("blake3:aa:60:0#ck=1", "t2"), ("blake3:bb:60:0#ck=2", "t1"), ("blake3:cc:60:0#ck=3", "t2")),
    buffers=(BUFFER,),
    actions=ActionCounts(create=1, reuse=1, buffer=1),
    warnings=(Notice(NoticeCode.LINEAGE_UNKNOWN, "…", None, ("a", "b")),),
)
REJECTION = Rejection(
    ErrorCode.EXPIRED, "expired", "at", "n", "1", "2", ({"a": 1, "b": 1.5, "c": None, "d": True},)
)

OTHER: dict[str, object] = {
    "strategy_id": "other",
    "world_id": "w2",
    "submission_digest": "other",
    "sentinel_id": "other-sentinel",
    "version": "v2",
    "crc32": 0,
    "items": OUTCOME.items[::-1],
    "buffers": (),
    "actions": ActionCounts(create=2, buffer=1),
    "safe_mode": "missing_as_of",
    "dry_run": True,
    "warnings": (),
}


@pytest.mark.parametrize("answer", [OUTCOME, REJECTION, replace(OUTCOME, safe_mode="x", dry_run=True)])
def test_a_stored_answer_is_decoded_unchanged(answer: Outcome | Rejection) -> None:
    assert decode(encode(answer)) == answer
    assert encode(decode(encode(answer))) == encode(answer)


TEXT = st.text(max_size=6)
OUTCOMES = st.builds(
    Outcome,
    strategy_id=TEXT,
    world_id=TEXT,
    submission_id=TEXT,
    submission_digest=TEXT,
    sentinel_id=TEXT,
    version=TEXT,
    crc32=st.integers(0, 2**32 - 1),
    items=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
    safe_mode=st.none() | TEXT,
    dry_run=st.booleans(),
)


@given(OUTCOMES, OUTCOMES)
def test_encoding_is_a_bijection(one: Outcome, two: Outcome) -> None:
    assert decode(encode(one)) == one
    assert (encode(one) == encode(two)) == (one == two)


def test_the_digest_covers_what_a_client_sees() -> None:
    assert set(OTHER) | {"submission_id"} == set(Outcome.__struct_fields__)
    digests = {outcome_digest(replace(OUTCOME, **{name: value})) for name, value in OTHER.items()}
    assert len(digests) == len(OTHER)
    assert outcome_digest(OUTCOME) not in digests


def test_the_digest_does_not_depend_on_the_submission_id() -> None:
    assert outcome_digest(replace(OUTCOME, submission_id="another")) == outcome_digest(OUTCOME)
    assert re.fullmatch("blake3:[0-9a-f]{64}", outcome_digest(OUTCOME))
    assert re.fullmatch("blake3:[0-9a-f]{64}", outcome_digest(REJECTION))
    assert outcome_digest(REJECTION) != outcome_digest(replace(REJECTION, message="later"))


def test_the_digest_of_the_items_may_be_given() -> None:
    assert outcome_digest(OUTCOME, items_digest(OUTCOME)) == outcome_digest(OUTCOME)
    assert outcome_digest(OUTCOME, b"another") != outcome_digest(OUTCOME)


def test_digests_that_clients_have_stored_do_not_change() -> None:
    assert (
        outcome_digest(OUTCOME) == "blake3:b3d9dc0a6d3d54c55f470a4ab192b5dc14fbfe276e50bebe4b98bda37f9e9bcd"
    )
    assert (
        outcome_digest(REJECTION) == "blake3:b0fa143b9ff2d2423cdaeea2c454001e06ed71c4adfd796d4aa0eb2518022103"
    )


def test_names_of_clients_and_topics() -> None:
    assert sentinel_id("abc") == "abc-sentinel"
    assert OUTCOME.topics == ("t1", "t2")


def test_a_buffer_instruction_is_the_node_as_submitted() -> None:
    assert buffer_instruction(NODE, 20) == BUFFER


ACTIONS: list[tuple[Action, str]] = [
    (CreateNode(NODE, BINDING, Reason.NEW_NODE), "create"),
    (CreateNode(NODE, BINDING, Reason.RESURRECTED, 2), "create"),
    (ReuseNode(NODE, BINDING, Reason.SAME_SPEC, "t"), "reuse"),
    (ReuseNode(NODE, BINDING, Reason.JOINED, "t"), "reuse"),
    (BufferNode(NODE, BINDING, Reason.SCHEMA_CHANGED, "t", 20), "buffer"),
    (IsolateNode(NODE, BINDING, "safe_mode:missing_as_of", "t"), "isolate"),
]


@pytest.mark.parametrize(("action", "counted"), ACTIONS)
def test_every_action_is_counted_once(action: Action, counted: str) -> None:
    assert count_actions((action, action)) == ActionCounts(**{counted: 2})
