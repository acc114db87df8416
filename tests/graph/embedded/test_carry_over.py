"""A store that the release before wrote into an SQLite file is carried over when it is opened for writing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dagmanager.cli.main import dagmanager
from dagmanager.engine.model.rows import NodeRow, QueueRow
from dagmanager.errors import SettingsError
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.graph.embedded.sqlite_snapshot import StoredGraph
from dagmanager.graph.model_version import MODEL

OLD = Path(__file__).parent.parent / "model_1" / "graph.sql"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "graph.sqlite")) as connection:
        connection.executescript(OLD.read_text())
    return tmp_path / "graph.sqlite"


def model_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(found,)] = connection.execute("SELECT version FROM rooms WHERE room = 'graph'")
    return int(found)


def test_it_is_carried_over_once(path: Path) -> None:
    with closing(SqliteGraph(path, lambda: 1)) as graph:
        rows = graph.rows()
    assert sum(isinstance(row, NodeRow) for row in rows) == 4
    assert sum(isinstance(row, QueueRow) for row in rows) == 6
    assert model_of(path) == MODEL
    with closing(SqliteGraph(path, lambda: 1)) as again:
        assert again.rows() == rows
    StoredGraph(path, lambda: 1)


def test_a_reader_refuses_it_in_one_line(path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^\S+ has a graph of model 1, .*run `dagmanager init`$"):
        StoredGraph(path, lambda: 1)
    assert model_of(path) == 1


def test_init_carries_it_over_and_a_dry_run_does_not(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGMANAGER_MEMORY_REPO_PATH", str(path))
    for arguments, model, words in (
        (["--dry-run"], 1, "to carry over from model 1"),
        ([], MODEL, "carried over from model 1"),
        ([], MODEL, "nothing to carry over"),
    ):
        assert dagmanager(["init", *arguments]) == 0
        assert words in capsys.readouterr().out
        assert model_of(path) == model


def test_a_newer_model_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE rooms SET version = ? WHERE room = 'graph'", (MODEL + 1,))
    with pytest.raises(SettingsError, match=f"version {MODEL + 1}"):
        SqliteGraph(path, lambda: 1)
    assert model_of(path) == MODEL + 1
