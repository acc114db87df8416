"""Contexts resolved as the client does: sources, aliases, safe mode, namespaces (docs/semantics.md 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagmanager.dag.model import ComputeContext, Record
from dagmanager.dag.record.compute_key import compute_key
from dagmanager.dag.record.context import NAMESPACE_MAX, domain_of, resolve_context
from dagmanager.errors import ErrorCode, Rejection
from tests.dag import made
from tests.dag.made import dag, node, request

A = node()


def resolved(record: Record, *, namespaces: bool = True) -> ComputeContext | Rejection:
    found = made.accepted(record)
    envelope = made.enveloped(record)
    return resolve_context(envelope, found, envelope.worlds[0], namespaces=namespaces)


def context(record: Record, *, namespaces: bool = True) -> ComputeContext:
    found = resolved(record, namespaces=namespaces)
    assert isinstance(found, ComputeContext), found
    return found


def commit_log(tree: Any, **payload: Any) -> Record:
    return Record(json.dumps(["gateway.ingest", 1, "s", {"dag": tree, **payload}]).encode(), made.TOPIC, b"s")


OWN = {"execution_domain": "live", "as_of": "own", "partition": "own"}
OLDER = {"execution_domain": "shadow", "as_of": "older", "dataset_fingerprint": "older"}
TREE = dag(A, compute_context=OWN, meta={"compute_context": OLDER})


def test_each_field_from_the_request_else_the_dag_else_its_meta() -> None:
    found = context(request(TREE, world_id="w", as_of="asked"))
    assert found == ComputeContext("w", "live", "asked", "own", "older", "w.live", None)


@pytest.mark.parametrize(
    "where", [{"compute_context": {"world_id": "w1"}}, {"meta": {"compute_context": {"world_id": "w1"}}}]
)
def test_a_world_that_only_the_dag_names_enters_compute_keys_and_not_the_namespace(
    where: dict[str, Any],
) -> None:
    found = context(request(dag(A, **where), execution_domain="live"))
    plain = context(request(dag(A), execution_domain="live"))
    named = context(request(dag(A), execution_domain="live", world_id="w1"))
    assert (found.namespace, plain.namespace, named.namespace) == ("", "", "w1.live")
    keys = [compute_key(A["node_id"], each) for each in (found, plain, named)]
    assert keys[0] == keys[2] != keys[1]


def test_a_gateway_context_is_a_decision_the_dag_adds_nothing_to() -> None:
    found = context(commit_log(TREE, compute_context={"world_id": "w", "as_of": "t"}))
    assert (found.execution_domain, found.safe_mode) == ("backtest", "decision_unavailable")
    assert (found.partition, found.dataset_fingerprint) == ("", "")
    assert context(commit_log(TREE)).execution_domain == "live"


@pytest.mark.parametrize(
    ("given", "domain", "why"),
    [
        ({"execution_domain": "live"}, "live", None),
        ({"execution_domain": "live", "safe_mode": True}, "live", "gateway"),
        (
            {"execution_domain": "live", "safe_mode": True, "downgrade_reason": "stale_decision"},
            "live",
            "stale_decision",
        ),
        ({"execution_domain": "backtest", "safe_mode": True}, "backtest", "missing_as_of"),
        ({"execution_domain": "live", "downgraded": True}, "live", "gateway"),
        ({"execution_domain": "live", "downgrade_reason": "x"}, "live", None),
        ({"execution_domain": "paper"}, "backtest", "missing_as_of"),
        ({"execution_domain": "paper", "as_of": " "}, "backtest", "missing_as_of"),
        ({"execution_domain": "paper", "as_of": "t"}, "dryrun", None),
        ({"execution_domain": " Default "}, "backtest", "decision_unavailable"),
        ({"as_of": "t"}, "backtest", "decision_unavailable"),
    ],
)
def test_safe_mode(given: dict[str, Any], domain: str, why: str | None) -> None:
    found = context(commit_log(dag(A), compute_context=given))
    assert (found.execution_domain, found.safe_mode) == (domain, why)


@pytest.mark.parametrize(
    ("raw", "domain"),
    [
        ("PROD", "live"),
        ("compute_only", "backtest"),
        ("Paper Trade", "dryrun"),
        ("acme/paper:live", "dryrun"),
        ("acme:sim", "dryrun"),
        ("live/paper", "live"),
        (" Weird ", "Weird"),
    ],
)
def test_domain_aliases(raw: str, domain: str) -> None:
    assert domain_of(raw) == domain


@pytest.mark.parametrize(
    ("tree", "fields", "namespace"),
    [
        (dag(A), {}, ""),
        (dag(A), {"execution_domain": "live"}, ""),
        (dag(A), {"world_id": "W 1"}, "w-1.live"),
        (dag(A), {"world_id": "w", "execution_domain": "Paper"}, "w.paper"),
        (dag(A, meta={"execution_domain": "dryrun"}), {"world_id": "w"}, "w.dryrun"),
        (
            dag(A, meta={"execution_domain": "dryrun"}),
            {"world_id": "w", "execution_domain": "live"},
            "w.dryrun",
        ),
        (dag(A, compute_context={"execution_domain": "shadow"}), {"world_id": "w"}, "w.live"),
        (dag(A, compute_context={"world_id": "own"}), {}, ""),
        (dag(A, meta={"topic_namespace": "X.Y"}), {"world_id": "w"}, "x.y"),
        (dag(A, meta={"topic_namespace": {"world": "X", "domain": "live"}}), {}, "x.live"),
        (dag(A, meta={"topic_namespace": ".."}), {"world_id": "w"}, "w.live"),
        (dag(A), {"world_id": "w", "execution_domain": " "}, ""),
        (dag(A), {"world_id": "__"}, ""),
    ],
)
def test_the_namespace_is_what_the_client_will_look_for(
    tree: dict[str, Any], fields: dict[str, Any], namespace: str
) -> None:
    assert context(request(tree, **fields)).namespace == namespace
    assert context(request(tree, **fields), namespaces=False).namespace == ""


@pytest.mark.parametrize(
    ("tree", "fields", "pointer"),
    [
        (dag(A), {"world_id": "한국"}, "world_id"),
        (dag(A), {"world_id": "w" * NAMESPACE_MAX}, "world_id"),
        (dag(A), {"world_id": "w", "execution_domain": "한국"}, "execution_domain"),
        (dag(A, meta={"topic_namespace": "한국.live"}), {}, "/meta/topic_namespace"),
    ],
)
def test_a_prefix_that_no_topic_can_carry_is_refused(
    tree: dict[str, Any], fields: dict[str, Any], pointer: str
) -> None:
    found = resolved(request(tree, **fields))
    assert isinstance(found, Rejection)
    assert (found.code, found.field) == (ErrorCode.INVALID_FIELD, pointer)
    assert isinstance(resolved(request(tree, **fields), namespaces=False), ComputeContext)
