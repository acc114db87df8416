"""Graphs that former releases wrote (`model_1/README.md`, `model_2/README.md`), and what must be true of them afterwards."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import neo4j

from dagmanager.engine.decide.submission_keys import claim_id
from dagmanager.engine.decide.version_order import asks_in_effect, ordered
from dagmanager.engine.model.graph_port import LookupKeys
from dagmanager.engine.model.outcome import Outcome, decode
from dagmanager.engine.model.rows import OutcomeRow, Row
from dagmanager.engine.model.version_rows import (
    HolderKey,
    HolderRow,
    LineageKey,
    LineageRow,
    SentinelRow,
    SentinelState,
)
from tests.engine.builders import START_MS, AuditedGraph, Stores, WallClock, engine, node, submissions

FOLDER: Final = Path(__file__).parent
MODELS: Final = (1, 2)
NODES: Final = {1: 4, 2: 3}
QUEUES: Final = {1: 6, 2: 6}
OUTCOMES: Final = {1: 7, 2: 6}
# Each holder as (strategy id, namespace, world of the sentinel that it has).
HOLDERS: Final = {
    1: {
        *(HolderKey(strategy_id, "w1.live", "w1") for strategy_id in ("s1", "s2", "s3")),
        HolderKey("s4", "shared", "w1"),
        HolderKey("s6", "w3.live", "w3"),
    },
    2: {HolderKey("s1", "w1.live", "w1"), HolderKey("s2", "shared.live", "w1")},
}
PRICE: Final = node("price", tags=["btc"], schema_hash="h1")
# The record of model 2 that was refused, for two worlds.
LATE: Final = submissions(
    [PRICE, node("other", tags=["eth"], inputs=["blake3:" + "0" * 64])],
    strategy="s3",
    lineage="beta",
    version="v3",
    namespace="shared.live",
    worlds=["w1", "w2"],
    at_ms=START_MS + 1_500,
    position=3,
)


def restore_file(path: Path, model: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / f"model_{model}" / "graph.sql").read_text())


def stored_nodes(model: int) -> list[dict[str, Any]]:
    """The nodes and relationships of the graph on Neo4j, as written."""
    lines = (FOLDER / f"model_{model}" / "graph.jsonl").read_text().splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for each in found:
        each["properties"] = {
            name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
            for name, value in each["properties"].items()
        }
    return found


def restore_database(session: neo4j.Session, model: int) -> None:
    ids: list[str] = []
    for each in stored_nodes(model):
        if "labels" in each:
            made = neo4j.Query(f"CREATE (n:{':'.join(each['labels'])}) SET n = $p RETURN elementId(n) AS id")
            ids.append(session.run(made, p=each["properties"]).single(strict=True)["id"])
        else:
            linked = neo4j.Query(
                "MATCH (a), (b) WHERE elementId(a) = $a AND elementId(b) = $b"
                f" CREATE (a)-[r:{each['type']}]->(b) SET r = $p"
            )
            session.run(linked, a=ids[each["from"]], b=ids[each["to"]], p=each["properties"]).consume()


def is_carried_over(rows: tuple[Row, ...], model: int) -> bool:
    """Every holder has its world, every stored outcome can be answered again, and what is in force follows from the asks."""
    holders = {row.key for row in rows if isinstance(row, HolderRow)}
    outcomes = [row for row in rows if isinstance(row, OutcomeRow)]
    for row in outcomes:
        if row.body:
            decode(row.body)
    assert holders == HOLDERS[model]
    assert len(outcomes) == OUTCOMES[model]
    assert_in_force_by_asks(rows)
    return True


def assert_in_force_by_asks(rows: tuple[Row, ...]) -> None:
    """The asks explain the stored weights, and none is newer than the newest record of its lineage."""
    last_at_ms = {row.key: row.last_at_ms for row in rows if isinstance(row, LineageRow)}
    versions: defaultdict[LineageKey, list[SentinelRow]] = defaultdict(list)
    for row in rows:
        if isinstance(row, SentinelRow):
            versions[LineageKey(row.key.lineage, row.key.namespace)].append(row)
    for lineage, found in versions.items():
        asks = {row.key: asks_in_effect(row) for row in found}
        active = {row.key: row.weight for row in found if row.state is SentinelState.ACTIVE}
        assert ordered(asks).view == active
        assert all(ask.at_ms <= last_at_ms[lineage] for each in asks.values() for ask in each)
        assert all(asks.values())


def is_decided_again(graph: AuditedGraph) -> bool:
    """The record that was refused as late is answered for each of its worlds when it is read again."""
    keys = frozenset(map(claim_id, LATE))
    assert not graph.known(LookupKeys(outcomes=keys)).outcomes
    answers = engine(Stores(clock=WallClock(), open_graph=lambda _: graph)).submit(list(LATE))
    assert all(isinstance(each.result, Outcome) for each in answers)
    assert set(graph.known(LookupKeys(outcomes=keys)).outcomes) == keys
    return True
