"""Canonical DAGs: duplicates, sentinels, labels, weights, lineage, edges (docs/semantics.md 2; docs/contract.md, DAG JSON)."""

from __future__ import annotations

from typing import Any

import pytest

from dagmanager.dag.canonicalize import canonicalize
from dagmanager.dag.limits import Limits
from dagmanager.dag.model import Artifact, CanonicalDag, TagQuery
from dagmanager.dag.nodes.node_memo import NodeMemo
from dagmanager.errors import ErrorCode
from tests.dag import made
from tests.dag.made import accepted, dag, node, refused, request

A, B = node(name="a"), node(name="b", period=9)
UUID = "0d3c6a34-6f3e-4a3b-9d6b-0f4d2f7c1a55"


def canonical(tree: Any, strategy_id: str = "s") -> CanonicalDag:
    found = made.canonical(request(tree, strategy_id=strategy_id))
    assert isinstance(found, CanonicalDag), found
    return found


def test_the_same_node_twice_is_once_but_counts_twice_in_the_checksum() -> None:
    once, twice = accepted(request(dag(A, B))), accepted(request(dag(A, B, A)))
    assert twice.nodes == once.nodes
    assert twice.submitted_ids == (A["node_id"], B["node_id"], A["node_id"])
    assert twice.crc32 != once.crc32
    assert twice.content_digest == once.content_digest
    assert twice.warnings == once.warnings


def test_other_tags_or_names_on_the_same_id_are_united_and_noticed() -> None:
    other = A | {"tags": ["price", "btc"], "name": "z"}
    found = canonical(dag(A, B, other))
    assert (found.nodes[0].tags, found.nodes[0].name) == (("btc", "price"), "a,z")
    notice = found.warnings[0]
    assert (notice.code, notice.node_id) == ("same_id_different_tags", A["node_id"])
    assert len(notice.details) == 2
    reverse = canonical(dag(other, B, A))
    assert reverse.nodes[0] == found.nodes[0]


def test_another_schema_hash_on_the_same_id_is_refused() -> None:
    found = refused(request(dag(A, B, A | {"schema_hash": "other"})))
    assert (found.code, found.node_id) == (ErrorCode.CONFLICTING_NODE, A["node_id"])
    assert {found.expected, found.got} == {"other", "5ca1"}
    accepted(request(dag(A, made.without(A, "schema_hash"))))


def test_another_spec_under_the_same_id_is_a_mismatch() -> None:
    found = refused(request(dag(A, {"node_type": "VersionSentinel"}, A | {"period": 77})))
    assert (found.code, found.got) == (ErrorCode.NODE_ID_MISMATCH, A["node_id"])


def test_fields_that_hash_alike_but_differ_are_refused() -> None:
    # `|` is not escaped in the preimage (docs/contract.md, NodeID)
    left = node(schema_compat_id="s|c", code_hash="d")
    right = node(schema_compat_id="s", code_hash="c|d")
    assert left["node_id"] == right["node_id"]
    found = made.hashed(request(dag(left, right)))
    assert getattr(found, "code", None) == ErrorCode.CONFLICTING_NODE


@pytest.mark.parametrize(
    ("tree", "label"),
    [
        (dag(A), "v1"),
        (dag(A, {"node_type": "VersionSentinel", "version": "v9"}, version="v8"), "v9"),
        (dag(A, {"node_type": "VersionSentinel", "strategy_version": "a/b"}), "a-b"),
        (dag(A, {"node_type": "VersionSentinel", "build_version": 3}), "3"),
        (dag(A, {"node_type": "VersionSentinel", "version": " "}, strategy_version="v7"), "v7"),
        (dag(A, strategy_version="v7", version="v6"), "v7"),
        (dag(A, version="v6", meta={"version": "v5"}), "v6"),
        (dag(A, meta={"strategy_version": "v4", "version": "v5", "build_version": "v3"}), "v5"),
        (dag(A, meta={"strategy_version": "v4", "build_version": "v3"}), "v4"),
        (dag(A, meta={"build_version": 1.5}), "1.5"),
        (dag(A, version="..."), "v1"),
    ],
)
def test_the_first_label_given_counts(tree: dict[str, Any], label: str) -> None:
    assert canonical(tree).version == label


@pytest.mark.parametrize(
    ("fields", "weight"),
    [
        ({}, None),
        ({"weight": 0.25}, 0.25),
        ({"traffic_weight": 2, "weight": 0.1}, 1.0),
        ({"sentinel_weight": -3}, 0.0),
        ({"weight": "0.5"}, 0.5),
        ({"weight": 10**400}, 1.0),
        ({"traffic_weight": None, "weight": 1}, 1.0),
    ],
)
def test_a_weight_is_clamped_to_0_and_1(fields: dict[str, Any], weight: float | None) -> None:
    found = canonical(dag(A, {"node_type": "VersionSentinel"} | fields))
    assert found.weight == weight
    assert found.weight is None or isinstance(found.weight, float)


@pytest.mark.parametrize("weight", ["nan", "inf", "x", True, [], {}])
def test_a_weight_that_is_no_finite_number_is_refused(weight: object) -> None:
    found = refused(request(dag(A, {"node_type": "VersionSentinel", "weight": weight})))
    assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, "/nodes/1/weight")


def test_sentinel_entries_are_exempt_from_fields_and_checksum() -> None:
    plain = accepted(request(dag(A, B)))
    sentinel = {"node_type": "VersionSentinel", "node_id": "s-sentinel", "version": "v1", "odd": [1]}
    for entries in ([sentinel, A, B], [A, sentinel, B], [A, B, sentinel, sentinel]):
        found = accepted(request(dag(*entries)))
        assert (found.crc32, found.content_digest) == (plain.crc32, plain.content_digest)
        assert found.nodes == plain.nodes


@pytest.mark.parametrize(
    ("meta", "strategy_id", "lineage", "known"),
    [
        ({"strategy_name": " Alpha ", "name": "b"}, UUID, "Alpha", True),
        ({"name": "b"}, UUID, "b", True),
        ({"strategy_name": " ", "name": "b"}, UUID, "b", True),
        ({}, "momentum", "momentum", True),
        ({}, UUID, UUID, False),
        ({}, UUID.replace("-", "").upper(), UUID.replace("-", "").upper(), False),
    ],
)
def test_lineage_is_the_name_given_else_the_strategy(
    meta: dict[str, Any], strategy_id: str, lineage: str, known: bool
) -> None:
    found = canonical(dag(A, meta=meta), strategy_id)
    assert found.lineage == lineage
    assert [notice.code for notice in found.warnings] == ([] if known else ["lineage_unknown"])


@pytest.mark.parametrize("entries", [(), ({"node_type": "VersionSentinel", "version": "v2"},)])
def test_a_dag_without_compute_nodes_is_refused(entries: tuple[dict[str, Any], ...]) -> None:
    found = made.refused(request(dag(*entries)))
    assert (found.code, found.field) == ("invalid_field", "/nodes")
    assert "no compute nodes" in found.message


def test_where_the_lineage_is_found_is_a_setting() -> None:
    envelope = made.enveloped(request(dag(A, meta={"name": "b"}, project={"id": "p"})))
    found = canonicalize(envelope, NodeMemo(), made.LIMITS, ("project.id", "meta.name"))
    assert isinstance(found, CanonicalDag)
    assert found.lineage == "p"


def test_a_dependency_outside_the_dag_is_kept_and_noticed() -> None:
    missing = "blake3:" + "ab" * 32
    child = node(inputs=[missing, A["node_id"]], dependencies=[])
    found = canonical(dag(A, child))
    assert found.external == (missing,)
    assert [(each.code, each.node_id, each.details) for each in found.warnings] == [
        ("unresolved_dependencies", child["node_id"], (missing,))
    ]
    strict = refused(request(dag(A, child)), Limits(strict_dependencies=True))
    assert (strict.code, strict.node_id) == (ErrorCode.UNRESOLVED_DEPENDENCIES, child["node_id"])
    assert strict.details == ({"node_id": child["node_id"], "dependency": missing},)


def test_inputs_count_before_dependencies_and_repeats_stay() -> None:
    twice = node(inputs=[A["node_id"], "", A["node_id"]], dependencies=[B["node_id"]])
    found = canonical(dag(A, B, twice))
    assert found.nodes[2].dependencies == (A["node_id"],) * 2
    other = node(inputs=[], dependencies=[B["node_id"]])
    assert canonical(dag(A, B, other)).nodes[2].dependencies == (B["node_id"],)


def ring(size: int) -> list[dict[str, Any]]:
    ids = [f"blake3:{number:064x}" for number in range(size)]
    return [A | {"node_id": ids[at], "inputs": [ids[(at + 1) % size]]} for at in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5_000])
def test_a_cycle_names_its_nodes_in_order_before_ids_are_checked(size: int) -> None:
    nodes = ring(size)
    found = refused(request(dag(B, *nodes)))
    assert found.code is ErrorCode.DEPENDENCY_CYCLE
    named = [each["node_id"] for each in found.details]
    assert named == [each["node_id"] for each in nodes][:100]
    assert found.message.startswith(
        f"{size} nodes depend on each other" if size > 1 else "a node depends on itself"
    )
    assert found.message.endswith(nodes[0]["node_id"])


def test_a_child_may_stand_before_its_parent() -> None:
    child = node(inputs=[A["node_id"]])
    assert canonical(dag(child, A)).warnings == ()


def test_schema_id_is_the_older_name_of_schema_compat_id() -> None:
    older = made.without(A, "schema_compat_id") | {"schema_id": " s1 "}
    assert accepted(request(dag(older))).nodes[0].schema_compat_id == "s1"
    found = refused(request(dag(A | {"schema_id": "s2"})))
    assert (found.code, found.field) == (ErrorCode.SCHEMA_ID_CONFLICT, "/nodes/0/schema_compat_id")
    assert (found.got, found.expected) == ("s1", "s2")


def test_what_a_node_carries_beside_its_id() -> None:
    artifact = {"path": "m.pt", "checksum": "c", "size": 3, "framework": "torch"}
    full = A | {"global": True, "artifacts": [artifact], "tags": " b ,a,,", "odd": {"x": [1]}}
    found = canonical(dag(full)).nodes[0]
    assert found.global_
    assert found.artifacts == (Artifact("m.pt", "c", 3, "torch"),)
    assert found.tags == ("a", "b")


def test_a_tag_query_is_normalised() -> None:
    query = node(node_type="TagQueryNode", params={"query_tags": " b , a ,,", "match_mode": "ALL"})
    assert canonical(dag(query)).nodes[0].tag_query == TagQuery(("a", "b"), "all", 60)


def test_commit_hash_namespace_and_domain_come_from_the_dag() -> None:
    meta = {"topic_namespace": "W1.Live", "execution_domain": " paper ", "commit_hash": "abc"}
    found = canonical(dag(A, meta=meta))
    assert (found.meta_namespace, found.meta_domain, found.commit_hash) == ("w1.live", "paper", "abc")
    assert canonical(dag(A, commit_hash="def", meta=meta)).commit_hash == "def"
