"""A node in the memo is neither read nor hashed again, and no result changes."""

from __future__ import annotations

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.model import CanonicalDag
from dagmanager.dag.nodes.node_memo import NODE_OVERHEAD, NodeMemo
from tests.dag import made
from tests.dag.made import accepted, dag, node, refused, request

A, B, C = (node(period=number, name=str(number)) for number in (1, 2, 3))


def test_a_second_submission_hashes_only_what_is_new() -> None:
    memo = NodeMemo()
    accepted(request(dag(A, B)), memo=memo)
    found = canonicalize(made.enveloped(request(dag(A, C, B))), memo, made.LIMITS)
    assert isinstance(found, CanonicalDag)
    assert [found.nodes[at].node_id for at in found.fresh] == [C["node_id"]]


def test_answers_with_and_without_a_memo_are_equal() -> None:
    memo = NodeMemo()
    records = [request(dag(A, B, {"node_type": "VersionSentinel"})), request(dag(B, C, B))]
    for record in records * 2:
        assert accepted(record, memo=memo) == accepted(record)


def test_only_proven_nodes_are_remembered() -> None:
    memo = NodeMemo()
    wrong = A | {"period": 9}
    for _ in range(2):
        assert getattr(made.hashed(request(dag(B, wrong)), memo=memo), "code", None) == "node_id_mismatch"
    assert len(memo) == 0


def test_united_nodes_are_remembered_one_by_one() -> None:
    memo = NodeMemo()
    other = A | {"tags": ["z"]}
    accepted(request(dag(A, other)), memo=memo)
    assert accepted(request(dag(A)), memo=memo).nodes[0].tags == ("btc",)
    assert accepted(request(dag(other)), memo=memo).nodes[0].tags == ("z",)


def test_other_bytes_under_a_known_id_are_hashed_again() -> None:
    memo = NodeMemo()
    accepted(request(dag(A)), memo=memo)
    assert refused(request(dag(A | {"params": {"window": 4}}))).code == "node_id_mismatch"
    found = made.hashed(request(dag(A | {"params": {"window": 4}})), memo=memo)
    assert getattr(found, "code", None) == "node_id_mismatch"
    found = made.hashed(request(dag(A, A | {"params": {"window": 4}})), memo=memo)
    assert getattr(found, "code", None) == "node_id_mismatch"


def test_the_memo_is_bounded_and_keeps_what_is_met_again() -> None:
    proven = accepted(request(dag(A))).nodes[0]
    memo = NodeMemo(entries_max=20)
    kept = b"kept"
    memo.put_many([(kept, proven)])
    for number in range(200):
        memo.put_many([(b"%d" % number, proven)])
        assert memo.get_many([kept]) == [proven]
        assert len(memo) <= 20
    assert memo.get_many([b"0", b"199"]) == [None, proven]


def test_the_memo_is_bounded_by_bytes() -> None:
    proven = accepted(request(dag(A))).nodes[0]
    memo = NodeMemo(bytes_max=4 * (NODE_OVERHEAD + 200))
    for number in range(50):
        memo.put_many([(b"%0100d" % number, proven)])
        assert len(memo) <= 4
    memo.put_many([(b"x" * 10_000, proven)])
    assert memo.get_many([b"x" * 10_000]) == [None]
