"""A graph that a former release wrote into Neo4j is carried over by `init`, and can be repeated."""

from __future__ import annotations

from collections.abc import Iterator

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
from tests.graph.old_graphs import MODELS, is_carried_over, is_decided_again, restore_database, stored_nodes


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def session(neo4j_server: Server, model: int) -> Iterator[neo4j.Session]:
    """A database as a former release left it; the fixture restores the shared one after the test."""
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as driver, driver.session() as opened:
        drop(opened)
        restore_database(opened, model)
        yield opened
        wipe(neo4j_server.uri)
        create(opened)


def everything(session: neo4j.Session) -> list[str]:
    nodes = session.run("MATCH (n) RETURN labels(n) AS labels, properties(n) AS properties")
    return sorted(f"{sorted(each['labels'])} {sorted(each['properties'].items())}" for each in nodes)


def test_a_graph_of_a_former_release_is_refused_in_one_line(session: neo4j.Session, model: int) -> None:
    with pytest.raises(
        SettingsError, match=rf"^the database has a graph of model {model}, .*run `dagmanager init`$"
    ):
        check(session)


def test_it_is_carried_over_once(neo4j_server: Server, session: neo4j.Session, model: int) -> None:
    create(session)
    check(session)
    found = session.run("MATCH (v:DagManagerSchema) RETURN v.version AS model").single(strict=True)
    assert found["model"] == MODEL
    with connect(neo4j_server) as driver:
        graph = Neo4jGraph(driver, neo4j_server)
        assert is_carried_over(graph.rows(), model)
        assert contradictions(cypher_view(session), graph.rows()) == []
    [external] = session.run("MATCH (n:ExternalNode) RETURN n.node_id AS id, COUNT { (n)--() } AS links")
    assert external["links"] > 0
    after = everything(session)
    create(session)
    assert everything(session) == after


@pytest.mark.parametrize("model", [2], indirect=True)
def test_a_record_that_was_refused_as_late_is_decided_again(
    neo4j_server: Server, session: neo4j.Session
) -> None:
    create(session)
    with connect(neo4j_server) as driver:
        assert is_decided_again(Neo4jGraph(driver, neo4j_server))


def test_it_can_be_cut_off_and_repeated(
    session: neo4j.Session, model: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_over, "BATCH_ROWS", 1)
    create(session)
    after = everything(session)
    # As after a crash in the middle: some of the rows are done, and the model is still the old one.
    session.run("MATCH (v:DagManagerSchema) SET v.version = 1").consume()
    session.run("MATCH (n:DagNode) WITH n LIMIT 2 REMOVE n:DagNode").consume()
    session.run(
        "MATCH (n:ExternalNode) WHERE NOT n:DagNode REMOVE n:ExternalNode SET n:ComputeNode"
    ).consume()
    for each in stored_nodes(model):
        if each.get("labels") == ["Outcome"]:
            session.run("MERGE (o:Outcome {key: $p.key}) SET o = $p", p=each["properties"]).consume()
        elif each.get("labels") == ["Holder"] and each["properties"]["strategy_id"] != "s1":
            undone = "MATCH (h:Holder {strategy_id: $p.strategy_id, namespace: $p.namespace}) SET h = $p"
            session.run(undone, p=each["properties"]).consume()
    assert everything(session) != after
    create(session)
    assert everything(session) == after


@pytest.mark.parametrize("model", [1], indirect=True)
def test_a_node_of_another_program_stays_a_compute_node(session: neo4j.Session) -> None:
    session.run("CREATE (:ComputeNode {node_id: 'theirs', code_hash: 'c'})").consume()
    create(session)
    [found] = session.run("MATCH (n {node_id: 'theirs'}) RETURN labels(n) AS labels")
    assert set(found["labels"]) == {"ComputeNode", "DagNode"}
