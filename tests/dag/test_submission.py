"""One submission per world; digests and ids; nodes of another context (docs/semantics.md 2, 5; docs/requirements.md R5)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dagmanager.dag.model import ComputeContext, Origin, Record, Submission
from dagmanager.dag.nodes.content import content_digest, submission_id
from dagmanager.dag.record.compute_key import compute_key, message_key, partition_key
from dagmanager.dag.submission import submissions
from dagmanager.errors import ErrorCode, Rejection
from tests.dag import made
from tests.dag.made import dag, node, request

A, B = node(name="a"), node(name="b", period=9)


def outcomes(
    record: Record, *, namespaces: bool = True, dry_run_ids: frozenset[str] = frozenset({"dryrun"})
) -> tuple[Submission | Rejection, ...]:
    return submissions(
        made.enveloped(record),
        made.accepted(record),
        record,
        namespaces=namespaces,
        dry_run_ids=dry_run_ids,
    )


def only(record: Record) -> Submission:
    (found,) = outcomes(record)
    assert isinstance(found, Submission), found
    return found


LIVE = {"world_id": "w", "execution_domain": "live"}


def test_one_submission_per_world_each_with_its_own_id() -> None:
    found = outcomes(request(dag(A), world_ids=["w1", "w2"], execution_domain="live"))
    ids = [each.submission_id for each in found if isinstance(each, Submission)]
    assert len(set(ids)) == len(found) == 2
    assert [getattr(each, "context", None) for each in found] == [
        ComputeContext("w1", "live", namespace="w1.live"),
        ComputeContext("w2", "live", namespace="w2.live"),
    ]


def test_a_world_that_cannot_be_used_refuses_itself_only() -> None:
    good, bad = outcomes(request(dag(A), world_ids=["w1", "한국"], execution_domain="live"))
    assert isinstance(good, Submission)
    assert isinstance(bad, Rejection)
    assert (bad.code, bad.field) == (ErrorCode.INVALID_FIELD, "world_id")


def test_a_replay_has_the_same_id_and_a_resend_another() -> None:
    record = request(dag(A), **LIVE)
    resend = msgspec.structs.replace(record, origin=Origin("submissions", "topic-id", 0, 8))
    assert only(record).submission_id == only(record).submission_id
    assert only(record).submission_digest == only(resend).submission_digest
    assert only(record).submission_id != only(resend).submission_id


BASE = request(dag(A), **LIVE)


@pytest.mark.parametrize(
    "other",
    [
        request(dag(A), **LIVE, strategy_id="t"),
        request(dag(A), world_id="v", execution_domain="live"),
        request(dag(A), world_id="w", execution_domain="shadow"),
        request(dag(A), **LIVE, as_of="t"),
        request(dag(A), **LIVE, partition="p"),
        request(dag(A), **LIVE, dataset_fingerprint="d"),
        request(dag(A), **LIVE, safe_mode=True),
        request(dag(A, version="v2"), **LIVE),
        request(dag(A, {"node_type": "VersionSentinel", "weight": 1}), **LIVE),
        request(dag(A, meta={"topic_namespace": "x.y"}), **LIVE),
        request(dag(B), **LIVE),
    ],
)
def test_the_digest_covers_content_strategy_label_weight_and_context(other: Record) -> None:
    assert only(other).submission_digest != only(BASE).submission_digest


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"schema_hash": "x"}, False),
        ({"tags": ["x"]}, False),
        ({"name": "x"}, False),
        ({"metadata": {"x": 1}}, True),
        ({"config_hash": "x"}, True),
    ],
)
def test_the_content_covers_id_schema_tags_and_name(fields: dict[str, Any], same: bool) -> None:
    plain, other = made.accepted(request(dag(A))), made.accepted(request(dag(A | fields)))
    assert (plain.content_digest == other.content_digest) is same


def test_no_two_contents_share_bytes() -> None:
    nodes = made.accepted(request(dag(A))).nodes
    looks = [("x", ("a", "b"), ""), ("x", ("a,b",), ""), ("x", ("a",), "b"), ("", ("a",), 'x","b')]
    digests = {
        content_digest([msgspec.structs.replace(nodes[0], schema_hash=schema, tags=tags, name=name)])
        for schema, tags, name in looks
    }
    assert len(digests) == len(looks)
    origins = [
        Origin("a", "b", 1, 2),
        Origin("ab", "", 1, 2),
        Origin("a", "b", 12, 0),
        Origin("a\x1fb", "", 1, 2),
    ]
    assert len({submission_id("d", origin) for origin in origins}) == len(origins)


def test_a_dry_run_is_marked() -> None:
    assert only(request(dag(A), **LIVE, strategy_id="dryrun")).dry_run
    assert not only(BASE).dry_run


def test_the_record_time_and_all_warnings_travel_along() -> None:
    missing = node(inputs=["blake3:" + "0" * 64])
    record = msgspec.structs.replace(request(dag(missing), **LIVE), key=None)
    found = only(record)
    assert found.at_ms == 1_000
    assert [notice.code for notice in found.warnings] == ["unkeyed_record", "unresolved_dependencies"]


def test_a_node_of_another_context_refuses_only_the_worlds_concerned() -> None:
    key = compute_key(A["node_id"], ComputeContext("w1", "live"))
    mine = A | {"compute_key": key}
    found = outcomes(request(dag(B, mine), world_ids=["w1", "w2"], execution_domain="live"))
    assert isinstance(found[0], Submission)
    assert isinstance(found[1], Rejection)
    assert found[1].code is ErrorCode.CROSS_CONTEXT
    both = A | {"compute_key": compute_key(A["node_id"], ComputeContext("w2", "live"))}
    found = outcomes(request(dag(mine, both), world_ids=["w1", "w2"], execution_domain="live"))
    assert all(isinstance(each, Submission) for each in found)
    crossed = outcomes(request(dag(B, mine), world_ids=["w3", "w4"], execution_domain="live"))
    assert [getattr(each, "code", None) for each in crossed] == [ErrorCode.CROSS_CONTEXT] * 2
    alone = outcomes(request(dag(mine), world_id="w3", execution_domain="live"))[0]
    assert isinstance(alone, Rejection)
    assert (alone.node_id, alone.got) == (A["node_id"], key)
    assert alone.expected == compute_key(A["node_id"], ComputeContext("w3", "live"))


def test_dataset_and_namespace_do_not_enter_the_compute_key() -> None:
    plain = ComputeContext("w", "live", "t", "p")
    other = ComputeContext("w", "live", "t", "p", "data", "w.live", "why")
    assert compute_key(A["node_id"], plain) == compute_key(A["node_id"], other)


def test_message_keys() -> None:
    assert partition_key("n", None, None) == "n:0:0"
    assert partition_key("n", 60, 120, "") == "n:60:120"
    assert partition_key("n", 60, 120, "k") == "n:60:120#ck=k"
    assert message_key(partition_key("n", 60, 120, "k"), "h") == "n:60:120#ck=k:h"


@pytest.mark.parametrize("world", ["a\nb", "a b", "../../e", "a/b", "KRX-Crypto_2", "eu.spot", "_w1"])
def test_a_world_that_may_share_its_namespace_gives_a_warning(world: str) -> None:
    found = only(request(dag(A), **LIVE | {"world_id": world}))
    assert [each.code for each in found.warnings] == ["namespace_respelled"]
    assert repr(found.context.namespace) in found.warnings[0].message
    assert found.warnings[0].message.isprintable()


def test_a_world_that_only_the_context_of_the_dag_names_gives_no_warning() -> None:
    found = only(request(dag(A, compute_context={"world_id": "w1"}), execution_domain="live"))
    assert (found.context.world_id, found.context.namespace) == ("w1", "")
    assert found.warnings == ()


def test_a_domain_of_which_no_prefix_is_left_is_named() -> None:
    found = only(request(dag(A), world_id="w1", execution_domain="!!!"))
    assert found.context.namespace == ""
    [notice] = [each for each in found.warnings if each.code == "namespace_respelled"]
    assert notice.message.startswith("the execution domain of world 'w1' leaves nothing")


@pytest.mark.parametrize("world", ["!!!", "../..", "."])
def test_a_world_of_which_no_prefix_is_left_gives_a_warning(world: str) -> None:
    found = only(request(dag(A), **LIVE | {"world_id": world}))
    assert found.context.namespace == ""
    assert [each.code for each in found.warnings] == ["namespace_respelled"]


@pytest.mark.parametrize("world", ["w1", "krx-crypto_2", " w1 "])
def test_a_world_that_is_spelled_alike_in_topic_names_gives_no_warning(world: str) -> None:
    assert only(request(dag(A), **LIVE | {"world_id": world})).warnings == ()


def test_no_namespace_needs_no_warning() -> None:
    record = request(dag(A), **LIVE | {"world_id": "a b"})
    for found in outcomes(record, namespaces=False):
        assert isinstance(found, Submission)
        assert found.warnings == ()
