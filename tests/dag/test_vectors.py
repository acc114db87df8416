"""Every vector of the contract, and the DAGs that real strategies serialise to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.hashing import crc32
from dagmanager.dag.model import Node
from dagmanager.dag.nodes.version import clean_label
from dagmanager.dag.record.compute_key import compute_key, partition_key
from dagmanager.dag.record.context import (
    domain_of,
    namespace_text,
    resolve,
    safe_domain,
    world_namespace,
)
from tests.dag import made, naive

ROOT = Path(__file__).resolve().parent.parent
STRATEGIES = [
    path for path in sorted((ROOT.parent / "examples").glob("*.json")) if "nodes" in path.read_text()
]


def vectors(name: str) -> list[dict[str, Any]]:
    lines = (ROOT / "contract" / f"{name}_vectors.jsonl").read_text().split("\n")
    found = [json.loads(line) for line in lines if line]
    assert found
    return found


def test_every_node_id() -> None:
    for vector in vectors("node_id"):
        node = parse_node_json(json.dumps(vector["node"]).encode())
        assert isinstance(node, Node), node
        assert node.node_id == vector["node_id"], vector


def test_every_node_id_by_the_twin() -> None:
    for vector in vectors("node_id"):
        assert naive.id_of(naive.preimage_of(vector["node"])) == vector["node_id"]


def test_every_compute_key_and_partition_key() -> None:
    for vector in vectors("compute_key"):
        context = resolve(
            vector["world_id"], vector["execution_domain"], vector["as_of"], vector["partition"]
        )
        key = compute_key(vector["node_id"], context)
        assert key == vector["compute_key"], vector
        place = (vector["node_id"], vector["interval"], vector["bucket_ts"])
        assert partition_key(*place, key) == vector["partition_key"]
        assert partition_key(*place) == vector["partition_key_plain"]


def test_every_checksum() -> None:
    for vector in vectors("crc32"):
        assert crc32(vector["node_ids"]) == vector["crc32"]


def test_every_execution_domain() -> None:
    for vector in vectors("execution_domain"):
        if vector["raw"]:
            assert domain_of(vector["raw"]) == vector["domain"], vector
        domain, downgraded, reason, _ = vector["safe"]
        found, why = safe_domain(vector["raw"], vector["as_of"] or "")
        assert found == domain, vector
        assert (why is not None) == (downgraded == "True")
        assert why is None or reason == f"DowngradeReason.{why.upper()}"


def test_every_namespace() -> None:
    for vector in vectors("namespace"):
        if "topic_namespace" in vector:
            namespace = namespace_text(vector["topic_namespace"])
        else:
            namespace = world_namespace(vector["world_id"], vector["execution_domain"])
        assert namespace == vector["namespace"], vector


def test_every_version_label() -> None:
    for vector in vectors("version"):
        assert clean_label(vector["raw"]) == vector["version"], vector


@pytest.mark.parametrize("path", STRATEGIES, ids=lambda path: path.stem)
def test_every_real_strategy_is_accepted_with_its_exact_ids(path: Path) -> None:
    tree = json.loads(path.read_text())
    tree = tree.get("dag", tree)
    found = made.accepted(made.request(tree))
    submitted = [node["node_id"] for node in tree["nodes"] if node["node_type"] != "VersionSentinel"]
    assert [node.node_id for node in found.nodes] == list(dict.fromkeys(submitted))
    assert found.crc32 == crc32(submitted)
