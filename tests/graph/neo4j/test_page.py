"""docs/operating/neo4j.md against the schema and a filled database."""

from __future__ import annotations

import re
from pathlib import Path

import neo4j as driver
import pytest

from dagmanager.engine.model.graph_port import Graph
from dagmanager.engine.model.rows import Row, TagSetKey, TagSetRow
from dagmanager.graph.neo4j.graph import Neo4jGraph
from dagmanager.graph.neo4j.row_mapping import parameters
from dagmanager.graph.neo4j.schema import LABELS, STATEMENTS
from dagmanager.graph.neo4j.schema_inspection import item_of
from dagmanager.graph.neo4j.server import Server, connect
from servers.neo4j import wipe
from tests.graph.builders import content, node, queue, sentinel, store
from tests.graph.full_rows import FULL

PAGE = (Path(__file__).resolve().parents[3] / "docs/operating/neo4j.md").read_text(encoding="utf-8")
LABEL_ROWS = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \| .*? \|(.*?)\|$", PAGE, re.MULTILINE)


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_page_names_every_label() -> None:
    assert {label for labels, _, _ in LABEL_ROWS for label in words(labels)} == LABELS


def test_the_page_names_the_unique_key_of_every_label() -> None:
    documented = {
        (label, each) for labels, unique, _ in LABEL_ROWS for label in words(labels) for each in words(unique)
    }
    unique = [item_of(each).shape for each in STATEMENTS if "CONSTRAINT" in each]
    made = {(shape.label, *shape.properties) for shape in unique}
    assert made <= documented
    # An `ExternalNode` is unique by its second label, `DagNode`, which it shares with every `ComputeNode`.
    by_other_means = {(label, "key") for label in ("TagOf", "QueryOf", "DagManagerSchema")}
    assert documented - made == {*by_other_means, ("ExternalNode", "node_id")}


def test_the_properties_on_the_page_are_written() -> None:
    labels: dict[str, str] = {
        "NodeRow": "ComputeNode", "QueueRow": "Queue", "ContentRow": "DagContent",
        "SentinelRow": "VersionSentinel", "HolderRow": "Holder", "LineageRow": "Lineage", "TagSetRow": "TagSet",
    }  # fmt: skip
    documented = {label: set(words(shown)) for names, _, shown in LABEL_ROWS for label in words(names)}
    seen: set[str] = set()
    for row in (*FULL, TagSetRow(TagSetKey(("t",), 60), 1)):
        label = labels.get(type(row).__name__)
        if label:
            assert documented[label] <= set(parameters(row)["p"]), label
            seen.add(label)
    assert seen == set(labels.values())


@pytest.mark.live("neo4j")
def test_the_question_on_the_page_is_answered(neo4j_server: Server) -> None:
    [question] = re.findall(r"```cypher\n(.*?)```", PAGE, re.DOTALL)
    rows: list[Row] = [
        node("n1"), node("n2"), queue("w.a", "n1", "w"), queue("b", "n2"), content("d1", "n1", "n2"),
        sentinel("d1", "mine", "w"), sentinel("d1", "other", ""),
    ]  # fmt: skip
    wipe(neo4j_server.uri)
    with connect(neo4j_server) as opened:
        graph: Graph = Neo4jGraph(opened, neo4j_server)
        store(graph, *rows)
        with opened.session() as session:
            found = list(session.run(driver.Query(question), strategy="mine"))
    assert [(row["s.version"], row["q.topic"]) for row in found] == [("v1", "w.a")]
