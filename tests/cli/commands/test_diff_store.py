"""`diff --store`: the graph of a flow as the previous version, read and never written."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dagmanager.cli.explain.diff_engine import decide
from dagmanager.cli.explain.diff_request import DiffRequest, InputFile
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.settings.table import Settings
from tests.cli.running import call
from tests.dag.made import node
from tests.graph.builders import node as node_row
from tests.graph.builders import store

FIRST, SECOND, THIRD = (node(name=name, period=at) for at, name in enumerate(("first", "second", "third")))


pytestmark = pytest.mark.slow


def dag(*nodes: dict[str, Any]) -> str:
    head = {"nodes": nodes, "compute_context": {"execution_domain": "live"}}
    return json.dumps(head)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store after a run over one strategy, and the next version of it."""
    (tmp_path / "momentum.json").write_text(dag(FIRST, SECOND))
    words = ("--submissions", "momentum.json", "--results", "out", "--store", "store/graph.sqlite")
    assert call("run", *words, cwd=tmp_path).code == 0
    (tmp_path / "momentum.json").write_text(dag(FIRST, THIRD))
    return tmp_path


def decided(folder: Path) -> dict[str, Any]:
    file = InputFile("momentum.json", (folder / "momentum.json").read_bytes())
    path = str(folder / "store" / "graph.sqlite")
    found = decide(DiffRequest(file, (), None, None, None, None, None, False, path), Settings())
    assert isinstance(found, dict)
    return found


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "store").iterdir()}


def test_a_dag_is_compared_with_what_the_flow_has_and_nothing_is_written(folder: Path) -> None:
    before = contents(folder)
    assert list(before) == ["graph.sqlite"]
    words = ("--store", "store/graph.sqlite", "--exit-code", "--json")
    done = call("diff", "--file", "momentum.json", *words, cwd=folder)
    assert (done.code, done.err) == (3, "")
    found = json.loads(done.out)
    assert [(each["name"], each["action"], each["reason"]) for each in found["nodes"]] == [
        ("first", "reuse", "same_spec"),
        ("third", "create", "new_node"),
    ]
    assert [each["node_id"] for each in found["removed"]] == [SECOND["node_id"]]
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("meta", "fields", "code", "line"),
    [
        ({}, {}, 0, ""),
        ({"version": "v2"}, {}, 3, "version v2: a run puts it into force"),
        ({}, {"tags": ["btc", "eth"]}, 3, "-> btc, eth"),
        ({}, {"name": "renamed"}, 3, "changed: renamed: name first -> renamed"),
        ({}, {"global": True}, 3, "node_attributes_differ"),
        ({}, {"artifacts": [{"path": "p", "checksum": "c", "size": 1}]}, 3, "node_attributes_differ"),
    ],
)
def test_the_exit_code_says_whether_a_run_would_change_anything(
    folder: Path, meta: dict[str, Any], fields: dict[str, Any], code: int, line: str
) -> None:
    sent = json.loads(dag({**FIRST, **fields}, SECOND)) | {"meta": meta}
    (folder / "momentum.json").write_text(json.dumps(sent))
    done = call("diff", "momentum.json", "--store", "store/graph.sqlite", "--exit-code", cwd=folder)
    assert done.code == code
    assert line in " ".join(done.out.split())


def test_a_dag_that_runs_in_another_world_says_so(folder: Path) -> None:
    words = ("diff", "momentum.json", "--store", "store/graph.sqlite", "--domain", "live")
    assert "note: nodes with new_binding" in call(*words, "--world", "w2", cwd=folder).out
    assert "new_binding" not in call(*words, cwd=folder).out


def test_it_does_not_wait_for_a_flow_that_holds_the_store(folder: Path) -> None:
    path = folder / "store" / "graph.sqlite"
    flow = SqliteGraph(path, lambda: 1)
    store(flow, node_row("n1"))
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    rival.execute("DELETE FROM graph_rows")
    before = contents(folder)
    assert "graph.sqlite-wal" in before, "what the flow wrote last is in the log only"
    assert decided(folder)["actions"] == {"create": 1, "reuse": 1, "buffer": 0, "isolate": 0}
    assert {name: each for name, each in contents(folder).items() if not name.endswith("-shm")} == {
        name: each for name, each in before.items() if not name.endswith("-shm")
    }
    rival.close()
    flow.close()


@pytest.mark.parametrize("kind", ["missing", "folder", "garbage", "empty", "foreign", "device", "version"])
def test_what_is_no_store_is_one_clear_error(folder: Path, kind: str) -> None:
    path = folder / "other"
    if kind == "folder":
        path.mkdir()
    elif kind == "garbage":
        path.write_bytes(b"\x00garbage" * 1_000)
    elif kind == "empty":
        path.touch()
    elif kind == "device":
        path = Path("/dev/null")
    elif kind == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE songs (title TEXT)")
        connection.close()
    elif kind == "version":
        path = folder / "store" / "graph.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE rooms SET version = 99")
        connection.close()
    done = call("diff", "--file", "momentum.json", "--store", str(path), cwd=folder)
    assert (done.code, done.out) == (2, "")
    first = done.err.splitlines()[0]
    assert first.startswith(f"error[unreadable_file]: {path} ")
    assert path.exists() == (kind != "missing")
