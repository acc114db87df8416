"""The demo's input: the nine real strategies as submissions, and a changed second version of one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson

from dagmanager.dag.canonicalize import parse_node_json
from dagmanager.dag.model import Node

FOLDER = Path(__file__).parent
CHANGED = "MultiIndicatorStrategy"

# Who runs where. The domains of two are chosen to show isolation and a second world.
CONTEXTS = {
    "TimingControlStrategy": {"world_id": "research", "execution_domain": "backtest"},
    "ValidationStrategy": {"world_id": "research", "execution_domain": "backtest", "as_of": "2026-11-01"},
}
DEFAULT = {"world_id": "demo", "execution_domain": "live"}


def first_submissions() -> list[bytes]:
    """One submission per file of this folder, as a client would send it."""
    return [_submission(path.stem, orjson.loads(path.read_bytes())) for path in sorted(FOLDER.glob("*.json"))]


def second_version() -> bytes:
    """The same strategy with one period changed (a new computation) and one schema changed (it buffers).

    It asks for label v2 by a VersionSentinel entry, as the Gateway writes it.
    """
    dag = orjson.loads((FOLDER / f"{CHANGED}.json").read_bytes())
    changed = copy.deepcopy(dag)
    rsi = next(node for node in changed["nodes"] if node["name"] == "rsi")
    rsi["period"] = 14
    rsi["node_id"] = _id_of(rsi)
    changed["nodes"][0]["schema_hash"] = "0" * 63 + "2"
    changed["nodes"].append(
        {"node_type": "VersionSentinel", "node_id": f"demo-{CHANGED}-sentinel", "version": "v2"}
    )
    return _submission(CHANGED, changed)


def names_of(submission: bytes) -> dict[str, str]:
    """Node names by id, for people."""
    nodes = orjson.loads(submission)["dag"]["nodes"]
    return {node["node_id"]: node.get("name") or node["node_type"] for node in nodes}


def _submission(name: str, dag: dict[str, Any]) -> bytes:
    body = {
        "strategy_id": f"demo-{name}",
        **CONTEXTS.get(name, DEFAULT),
        "dag": {**dag, "meta": {"strategy_name": name}},
    }
    return orjson.dumps(body)


def _id_of(node: dict[str, Any]) -> str:
    found = parse_node_json(orjson.dumps(node))
    if not isinstance(found, Node):
        raise TypeError(found.message)
    return found.node_id
