"""The demo's input: the nine real strategies as submissions, and a changed second version of one."""

from __future__ import annotations

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
    return [_submission(name, dag) for name, dag in strategies().items()]


def strategies() -> dict[str, dict[str, Any]]:
    """The DAG of each file of this folder, by the strategy's name."""
    return {path.stem: _named(path.stem) for path in sorted(FOLDER.glob("*.json"))}


def second_version() -> bytes:
    """The second version of one strategy, as a client would send it."""
    return _submission(CHANGED, version(2))


def version(number: int) -> dict[str, Any]:
    """A later version of one strategy: one period is another (a new computation), one schema too (it buffers).

    It asks for its label by a VersionSentinel entry, as the Gateway writes it.
    """
    changed = _named(CHANGED)
    rsi = next(node for node in changed["nodes"] if node["name"] == "rsi")
    rsi["period"] = 12 + number
    rsi["node_id"] = _id_of(rsi)
    changed["nodes"][0]["schema_hash"] = "0" * 63 + "2"
    changed["nodes"].append(
        {"node_type": "VersionSentinel", "node_id": f"demo-{CHANGED}-sentinel", "version": f"v{number}"}
    )
    return changed


def _named(name: str) -> dict[str, Any]:
    dag: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return dag | {"meta": {"strategy_name": name}}


def _submission(name: str, dag: dict[str, Any]) -> bytes:
    return orjson.dumps({"strategy_id": f"demo-{name}", **CONTEXTS.get(name, DEFAULT), "dag": dag})


def _id_of(node: dict[str, Any]) -> str:
    found = parse_node_json(orjson.dumps(node))
    if not isinstance(found, Node):
        raise TypeError(found.message)
    return found.node_id
