"""A store that a former release wrote into an SQLite file is carried over when it is opened for writing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from dagmanager.cli.main import dagmanager
from dagmanager.engine.model.rows import NodeRow, QueueRow
from dagmanager.engine.model.version_rows import LineageRow, SentinelRow
from dagmanager.errors import SettingsError
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.graph.embedded.sqlite_snapshot import StoredGraph
from dagmanager.graph.model_version import MODEL
from tests.engine.builders import WallClock
from tests.graph.builders import lineage_row, sentinel
from tests.graph.old_graphs import (
    MODELS,
    NODES,
    QUEUES,
    assert_in_force_by_asks,
    is_carried_over,
    is_decided_again,
    restore_file,
)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def path(model: int, tmp_path: Path) -> Path:
    restore_file(tmp_path / "graph.sqlite", model)
    return tmp_path / "graph.sqlite"


def model_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(found,)] = connection.execute("SELECT version FROM rooms WHERE room = 'graph'")
    return int(found)


def state_of(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        [(seq, forgotten)] = connection.execute("SELECT seq, forgotten FROM graph_state")
    return seq, forgotten


def put(connection: sqlite3.Connection, row: SentinelRow | LineageRow) -> None:
    """The release before stored no asks; an empty tuple of them is read alike."""
    kind = str(type(row).__struct_config__.tag)
    values = (kind, msgspec.msgpack.encode(row.key), msgspec.msgpack.encode(row))
    connection.execute("INSERT INTO graph_rows (kind, key, seq, value) VALUES (?, ?, 1, ?)", values)


def test_it_is_carried_over_once(path: Path, model: int) -> None:
    with closing(SqliteGraph(path, lambda: 1)) as graph:
        rows = graph.rows()
    assert sum(isinstance(row, NodeRow) for row in rows) == NODES[model]
    assert sum(isinstance(row, QueueRow) for row in rows) == QUEUES[model]
    assert is_carried_over(rows, model)
    assert model_of(path) == MODEL
    with closing(SqliteGraph(path, lambda: 1)) as again:
        assert again.rows() == rows
    StoredGraph(path, lambda: 1)


@pytest.mark.parametrize("model", [2], indirect=True)
def test_a_record_that_was_refused_as_late_is_decided_again(path: Path) -> None:
    with closing(SqliteGraph(path, WallClock())) as graph:
        assert is_decided_again(graph)


def test_who_has_it_open_reads_all_of_it_again(path: Path) -> None:
    (seq, _) = state_of(path)
    SqliteGraph(path, lambda: 1).close()
    assert state_of(path) == (seq + 1, seq + 1)


def test_a_canary_stays_one(path: Path) -> None:
    canary = [
        sentinel("c", "gamma", version="v1", last_seen_ms=1_010),
        sentinel("d", "gamma", version="v2", last_seen_ms=1_020, weight_asked=0.3),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        for row, weight in zip(canary, (0.7, 0.3), strict=True):
            put(connection, replace(row, weight=weight))
        put(connection, lineage_row("gamma", at_ms=1_000))
    with closing(SqliteGraph(path, lambda: 1)) as graph:
        found = graph.rows()
    assert_in_force_by_asks(found)
    weights = [row.weight for row in found if isinstance(row, SentinelRow) and row.key.lineage == "gamma"]
    assert weights == [0.7, 0.3]


def test_deleted_holders_of_the_old_form_are_forgotten(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE graph_rows SET value = NULL WHERE kind = 'holder'")
    with closing(SqliteGraph(path, lambda: 1)) as graph:
        assert graph.rows()


def test_a_row_that_cannot_be_read_stops_it_and_nothing_is_changed(path: Path, model: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE graph_rows SET value = X'00' WHERE kind = 'outcome'")
    with pytest.raises(SettingsError, match=f"^the graph of model {model} has a row that cannot be read"):
        SqliteGraph(path, lambda: 1)
    assert model_of(path) == model


def test_a_reader_refuses_it_in_one_line(path: Path, model: int) -> None:
    with pytest.raises(SettingsError, match=rf"^\S+ has a graph of model {model}, .*run `dagmanager init`$"):
        StoredGraph(path, lambda: 1)
    assert model_of(path) == model


def test_init_carries_it_over_and_a_dry_run_does_not(
    path: Path, model: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGMANAGER_MEMORY_REPO_PATH", str(path))
    for arguments, after, words in (
        (["--dry-run"], model, f"to carry over from model {model}"),
        ([], MODEL, f"carried over from model {model}"),
        ([], MODEL, "nothing to carry over"),
    ):
        assert dagmanager(["init", *arguments]) == 0
        assert words in capsys.readouterr().out
        assert model_of(path) == after


def test_a_newer_model_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE rooms SET version = ? WHERE room = 'graph'", (MODEL + 1,))
    with pytest.raises(SettingsError, match=f"version {MODEL + 1}"):
        SqliteGraph(path, lambda: 1)
    assert model_of(path) == MODEL + 1
