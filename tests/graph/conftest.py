"""Which implementations the contract runs on: a new one is one more entry here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dagmanager.engine.ports import Graph
from dagmanager.graph.memory import MemoryGraph
from dagmanager.graph.sqlite import SqliteGraph

pytest.register_assert_rewrite("tests.graph.contract", "tests.graph.contract_questions")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(params=["memory", "sqlite"])
def handles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Graph]]:
    """Opens further handles on one graph that is empty at first, as other processes would."""
    if request.param == "memory":
        only = MemoryGraph(wall_ms)
        yield lambda: only
        return
    opened: list[SqliteGraph] = []

    def another() -> Graph:
        opened.append(SqliteGraph(tmp_path / "graph.sqlite", wall_ms))
        return opened[-1]

    yield another
    for each in opened:
        with closing(each):
            pass


@pytest.fixture
def graph(handles: Callable[[], Graph]) -> Graph:
    return handles()


@pytest.fixture
def rival(graph: Graph, handles: Callable[[], Graph]) -> Graph:
    """Another process's handle on the same graph."""
    return handles()
