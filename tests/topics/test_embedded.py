"""Embedded topics only: leaders after some descriptions, injected ids, one file with the graph."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.rows import CounterRow, TopicSpec
from dagmanager.errors import DagManagerError
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.topics.memory import MemoryTopics
from dagmanager.topics.sqlite import SqliteTopics
from tests.graph.builders import store

SPEC = TopicSpec(1, 1, -5)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_topics_are_ready_some_descriptions_after_the_creation(kind: str, tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "topics.sqlite")
    broker = MemoryTopics(ready_after=2) if kind == "memory" else SqliteTopics(file, ready_after=2)
    broker.create({"a": SPEC})
    assert [broker.describe(["a"])["a"].ready for _ in range(4)] == [False, False, True, True]
    broker.delete(["a"])
    broker.create({"a": SPEC})
    assert broker.describe(["a"])["a"].ready is False
    file.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_ids_are_the_given_ones_and_names_are_listed(kind: str, tmp_path: Path) -> None:
    numbers = count(1)
    file = SqliteFile(tmp_path / "topics.sqlite")
    broker: MemoryTopics | SqliteTopics
    if kind == "memory":
        broker = MemoryTopics(new_id=lambda: str(next(numbers)))
    else:
        broker = SqliteTopics(file, new_id=lambda: str(next(numbers)))
    broker.create({"b": SPEC, "a": SPEC, "a b": SPEC})
    assert {name: info.topic_id for name, info in broker.describe(["a", "b"]).items()} == {"b": "1", "a": "2"}
    assert broker.names() == ("a", "b")
    assert broker.configs(["a"])["a"].retention_ms == -1
    file.close()


def test_topics_outlive_the_process_and_share_a_file_with_the_graph(tmp_path: Path) -> None:
    graph = SqliteGraph(tmp_path / "all.sqlite", lambda: 1)
    topics = SqliteTopics(graph.file)
    topics.create({"a": SPEC})
    store(graph, CounterRow("x", 1))
    before = topics.describe(["a"])
    graph.close()
    file = SqliteFile(tmp_path / "all.sqlite")
    assert SqliteTopics(file).describe(["a"]) == before
    assert SqliteGraph(file, lambda: 1).rows() == (CounterRow("x", 1),)
    file.close()


def test_topics_are_not_created_inside_a_graph_transaction(tmp_path: Path) -> None:
    graph = SqliteGraph(tmp_path / "all.sqlite", lambda: 1)
    topics = SqliteTopics(graph.file)
    with pytest.raises(AssertionError, match="inside a transaction"):
        graph.transact(lambda _: topics.create({"a": SPEC}))
    assert topics.names() == ()
    graph.close()


def test_topics_of_another_version_are_refused(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "all.sqlite")
    file.create("topics", 7, [])
    with pytest.raises(DagManagerError, match=r"all\.sqlite has tables of topics in version 7"):
        SqliteTopics(file)
    file.close()
