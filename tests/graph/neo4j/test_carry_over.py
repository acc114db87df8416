"""A graph that the release before wrote into Neo4j is carried over by `init`, and can be repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neo4j
import pytest

from chaos.relations import contradictions, cypher_view
from dagmanager.errors import SettingsError
from dagmanager.graph.model_version import MODEL
from dagmanager.graph.neo4j import carry_over
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.schema import check, create, drop
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe

OLD = Path(__file__).parent.parent / "model_1" / "graph.jsonl"


@pytest.fixture
def session(neo4j_server: Server) -> Iterator[neo4j.Session]:
    """A database as the release before left it; the fixture restores the shared one after the test."""
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as driver, driver.session() as opened:
        drop(opened)
        restore(opened)
        yield opened
        wipe(neo4j_server.uri)
        create(opened)


def restore(session: neo4j.Session) -> None:
    ids: list[str] = []
    for line in OLD.read_text().splitlines():
        each: dict[str, Any] = json.loads(line)
        properties = {
            name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
            for name, value in each["properties"].items()
        }
        if "labels" in each:
            made = neo4j.Query(f"CREATE (n:{':'.join(each['labels'])}) SET n = $p RETURN elementId(n) AS id")
            ids.append(session.run(made, p=properties).single(strict=True)["id"])
        else:
            linked = neo4j.Query(
                "MATCH (a), (b) WHERE elementId(a) = $a AND elementId(b) = $b"
                f" CREATE (a)-[r:{each['type']}]->(b) SET r = $p"
            )
            session.run(linked, a=ids[each["from"]], b=ids[each["to"]], p=properties).consume()


def everything(session: neo4j.Session) -> list[str]:
    nodes = session.run("MATCH (n) RETURN labels(n) AS labels, properties(n) AS properties")
    return sorted(f"{sorted(each['labels'])} {sorted(each['properties'].items())}" for each in nodes)


def test_a_graph_of_the_release_before_is_refused_in_one_line(session: neo4j.Session) -> None:
    with pytest.raises(
        SettingsError, match=r"^the database has a graph of model 1, .*run `dagmanager init`$"
    ):
        check(session)


def test_it_is_carried_over_once(neo4j_server: Server, session: neo4j.Session) -> None:
    create(session)
    check(session)
    found = session.run("MATCH (v:DagManagerSchema) RETURN v.version AS model").single(strict=True)
    assert found["model"] == MODEL
    with connect(neo4j_server) as driver:
        graph = Neo4jGraph(driver, neo4j_server)
        assert contradictions(cypher_view(session), graph.rows()) == []
    [external] = session.run("MATCH (n:ExternalNode) RETURN n.node_id AS id, COUNT { (n)--() } AS links")
    assert external["links"] > 0
    after = everything(session)
    create(session)
    assert everything(session) == after


def test_it_can_be_cut_off_and_repeated(
    neo4j_server: Server, session: neo4j.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_over, "BATCH_ROWS", 1)
    create(session)
    after = everything(session)
    # As after a crash in the middle: half of the nodes are done, and the model is still the old one.
    session.run("MATCH (v:DagManagerSchema) SET v.version = 1").consume()
    session.run("MATCH (n:DagNode) WITH n LIMIT 2 REMOVE n:DagNode").consume()
    session.run(
        "MATCH (n:ExternalNode) WHERE NOT n:DagNode REMOVE n:ExternalNode SET n:ComputeNode"
    ).consume()
    create(session)
    assert everything(session) == after


def test_a_node_of_another_program_stays_a_compute_node(session: neo4j.Session) -> None:
    session.run("CREATE (:ComputeNode {node_id: 'theirs', code_hash: 'c'})").consume()
    create(session)
    [found] = session.run("MATCH (n {node_id: 'theirs'}) RETURN labels(n) AS labels")
    assert set(found["labels"]) == {"ComputeNode", "DagNode"}
