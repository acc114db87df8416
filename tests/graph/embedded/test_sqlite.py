"""What a file adds to the contract: other processes, kills during a transaction, files of other programs."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path

import pytest

from dagmanager.disk.sqlite_file import SqliteFile
from dagmanager.engine.model.graph_port import Transaction
from dagmanager.engine.model.rows import CounterRow
from dagmanager.errors import SettingsError, UnavailableError
from dagmanager.graph.embedded import sqlite as sqlite_room
from dagmanager.graph.embedded.sqlite import SqliteGraph
from dagmanager.graph.embedded.sqlite_snapshot import StoredGraph
from flows.run import main
from tests.graph.answers import EVERYTHING, answers, known_as_json
from tests.graph.builders import content, event, node, put, queue, remove, store
from tests.graph.contract import one_of_each, other_versions
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[3]


def clock() -> int:
    return 1_000


def opened(path: Path) -> SqliteGraph:
    return SqliteGraph(path, clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.sqlite"


def test_what_was_written_yesterday_is_known_today(path: Path) -> None:
    graph = opened(path)
    store(graph, *one_of_each())
    store(graph, *other_versions())
    remove(graph, event("x", 1, 10))
    before = answers(graph)
    graph.close()
    again = opened(path)
    assert answers(again) == before
    again.close()


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        graph = opened(path)
    finally:
        os.umask(before)
    store(graph, node("n1"))
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    graph.close()


KILLED_IN_WORK = """
    def work(tx):
        tx.lock(locks_for([*one_of_each(), *other_versions()]))
        tx.put(other_versions())
        tx.raise_epoch()
        os._exit(9)
"""
KILLED_BEFORE_COMMIT = """
    stored = graph._write_changes
    def killed(connection):
        stored(connection)
        os._exit(9)
    graph._write_changes = killed
    def work(tx):
        tx.lock(locks_for(other_versions()))
        tx.put(other_versions())
"""


@pytest.mark.parametrize("death", [KILLED_IN_WORK, KILLED_BEFORE_COMMIT], ids=["in work", "before commit"])
def test_a_process_that_dies_in_a_transaction_leaves_nothing_of_it(path: Path, death: str) -> None:
    graph = opened(path)
    store(graph, *one_of_each())
    before = answers(graph)
    script = f"""
    import os, pathlib, sys
    from dagmanager.graph.embedded.sqlite import SqliteGraph
    from tests.graph.builders import locks_for
    from tests.graph.contract import one_of_each, other_versions
    graph = SqliteGraph(pathlib.Path(sys.argv[1]), lambda: 1000)
    {textwrap.dedent(death).replace(chr(10), chr(10) + "    ")}
    graph.transact(work)
    """
    code = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path], cwd=ROOT, check=False
    ).returncode
    assert code == 9
    assert answers(graph) == before
    store(graph, *other_versions())
    graph.close()
    again = opened(path)
    assert answers(again) != before
    again.close()


def test_a_kill_at_any_instant_leaves_whole_transactions(path: Path) -> None:
    graph = opened(path)
    names = [f"c{n}" for n in range(20)]
    script = f"""
    import pathlib, sys
    from dagmanager.engine.model.graph_port import Locks
    from dagmanager.engine.model.rows import CounterRow
    from dagmanager.graph.embedded.sqlite import SqliteGraph
    graph = SqliteGraph(pathlib.Path(sys.argv[1]), lambda: 1000)
    def work(tx):
        value = tx.counters(["c0"])["c0"] + 1
        tx.lock(Locks(counters=tuple(sorted({names!r}))))
        for name in {names!r}:
            tx.put([CounterRow(name, value)])
    print("up", flush=True)
    while True:
        graph.transact(work)
    """
    values = [0]

    def value() -> int:
        return graph.epoch_reading(["c0"]).counters["c0"]

    for wait_ms in (0, 3, 11, 29):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), path], cwd=ROOT, stdout=subprocess.PIPE
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"up\n"
            until(lambda: value() > values[-1], "it writes nothing")
            time.sleep(wait_ms / 1000)  # the kill meets another instant of a transaction each time
            writer.send_signal(signal.SIGKILL)
        found = graph.transact(lambda tx: {tx.counters([name])[name] for name in names})
        assert len(found) == 1, "half a transaction"
        values.append(found.pop())
    assert values == sorted(set(values))
    graph.close()


def test_a_failed_commit_leaves_nothing_and_says_that_it_may_pass(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = opened(path)
    store(graph, *one_of_each())
    before = answers(graph)

    def full(connection: sqlite3.Connection) -> int:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(graph, "_write_changes", full)
        with pytest.raises(UnavailableError, match=r"graph\.sqlite.*full"):
            store(graph, *other_versions())
    assert answers(graph) == before
    store(graph, *other_versions())
    assert answers(graph) != before
    graph.close()


def test_a_busy_file_is_unavailable_and_nothing_is_decided(path: Path) -> None:
    graph = SqliteGraph(SqliteFile(path, busy_ms=20), clock)
    rival = opened(path)

    def while_rival_writes(tx: Transaction) -> None:
        put(tx, [node("n1")])
        with pytest.raises(UnavailableError, match=r"graph\.sqlite"):
            store(graph, node("n2"))
        assert graph.epoch() == 0  # reads do not wait for writers

    rival.transact(while_rival_writes)
    assert set(graph.transact(lambda tx: tx.nodes(["n1", "n2"]))) == {"n1"}
    store(graph, node("n2"))
    graph.close()
    rival.close()


def test_rows_that_went_are_forgotten_in_time_and_late_readers_still_learn_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_room, "_FORGET_AFTER", 4)
    graph, late, early = opened(path), opened(path), opened(path)
    store(graph, event("x", 1, 1))
    assert late.waiting_events(9) == early.waiting_events(9) == (event("x", 1, 1),)
    remove(graph, event("x", 1, 1))
    for n in range(20):
        store(graph, CounterRow("published:x", n))
        assert early.waiting_events(9) == ()
    assert late.waiting_events(9) == ()
    assert answers(late) == answers(early) == answers(graph)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM graph_rows WHERE value IS NULL").fetchone() == (0,)
    connection.close()
    for each in (graph, late, early):
        each.close()


def test_a_transaction_that_writes_nothing_costs_others_nothing(path: Path) -> None:
    graph = opened(path)
    store(graph, node("n1"))
    store(graph, node("n1"))
    graph.transact(lambda tx: tx.nodes(["n1"]))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT seq FROM graph_state").fetchone() == (1,)
    connection.close()
    graph.close()


class TestFilesThatAreNotOurs:
    def refused(self, path: Path, match: str) -> None:
        with pytest.raises(SettingsError, match=match) as caught:
            opened(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_no_database(self, path: Path) -> None:
        path.write_bytes(b"gpickle of another program" * 100)
        self.refused(path, "not a database")
        assert path.read_bytes() == b"gpickle of another program" * 100

    def test_a_damaged_database(self, path: Path) -> None:
        graph = opened(path)
        store(graph, *(node(f"n{n}") for n in range(200)))
        graph.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:5000] + b"\xff" * (len(whole) - 5000))
        self.refused(path, "malformed|cannot be used")

    def test_a_database_of_another_program(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE songs (title TEXT)")
        connection.close()
        self.refused(path, "another program.*songs")

    def test_a_version_of_a_newer_release(self, path: Path) -> None:
        opened(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE rooms SET version = 99 WHERE room = 'graph'")
        connection.close()
        self.refused(path, "version 99; this release reads")

    @pytest.mark.parametrize("value", [b"\xc1", b"\x81\xa4type\xa7unknown"])
    def test_a_row_that_cannot_be_decoded(self, path: Path, value: bytes) -> None:
        graph = opened(path)
        store(graph, node("n1"))
        graph.close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE graph_rows SET value = ?", (value,))
        connection.close()
        self.refused(path, "cannot read")

    def test_no_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nowhere" / "graph.sqlite", "No such file")

    def test_a_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "not a regular file")

    def test_a_device(self) -> None:
        self.refused(Path("/dev/null"), "not a regular file")

    def test_a_file_without_its_first_rows(self, path: Path) -> None:
        opened(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM graph_state")
        connection.close()
        self.refused(path, "graph_state")

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
    def test_a_file_that_may_not_be_written(
        self, path: Path, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "open", refuse)
        self.refused(path, os.strerror(code))


def test_the_flow_refuses_a_store_of_another_program_with_one_line(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").touch()
    path.write_bytes(b"\x00garbage" * 1_000)
    for store_path in (path, tmp_path, Path("/dev/null")):
        words = ["--submissions", str(tmp_path / "in.jsonl"), "--results", str(tmp_path / "out")]
        assert main([*words, "--store", str(store_path)]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(errors) == 1
        assert f"{store_path} cannot be used as a store: " in errors[0]


def test_the_flow_may_be_started_again_when_the_store_was_only_busy(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(path).close()
    (tmp_path / "in.jsonl").touch()
    monkeypatch.setattr(SqliteFile.__init__, "__defaults__", (20,))
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    words = ["--submissions", str(tmp_path / "in.jsonl"), "--results", str(tmp_path / "out")]
    assert main([*words, "--store", str(path)]) == 4
    assert "database is locked" in capsys.readouterr().err
    rival.close()


def test_many_processes_may_open_a_new_file_at_once(path: Path) -> None:
    script = """
    import pathlib, sys
    from dagmanager.graph.embedded.sqlite import SqliteGraph
    graph = SqliteGraph(pathlib.Path(sys.argv[1]), lambda: 1000)
    for _ in range(5):
        graph.transact(lambda tx: tx.raise_epoch())
    """
    started = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), path], cwd=ROOT) for _ in range(4)
    ]
    assert [each.wait(TIMEOUT_S) for each in started] == [0] * 4
    graph = opened(path)
    assert graph.epoch() == 20
    graph.close()


def test_a_reader_answers_as_the_graph_itself(tmp_path: Path) -> None:
    graph = SqliteGraph(tmp_path / "graph.sqlite", lambda: 1_000)
    store(graph, *one_of_each())
    reader = StoredGraph(tmp_path / "graph.sqlite", lambda: 1_000)
    assert known_as_json(reader.known(EVERYTHING)) == known_as_json(graph.known(EVERYTHING))
    for tags in (("t1",), ("t1", "t2")):
        for mode in ("any", "all"):
            assert reader.tagged(tags, 60, mode, "") == graph.tagged(tags, 60, mode, "")
    graph.close()


def test_memory_per_node_is_as_documented(path: Path) -> None:
    """docs/operating/neo4j.md says 4 kB for a node with its queue; parameters and tags come on top."""
    count = 2_000
    ids = [f"blake3:{number:064x}" for number in range(count)]
    first = opened(path)
    store(first, *(node(each, base_name=f"indicator.{each[-8:]}") for each in ids))
    store(first, *(queue(f"indicator.{each[-8:]}", each) for each in ids))
    store(first, content("c1", *ids))
    first.close()
    tracemalloc.start()
    try:
        again = opened(path)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    again.close()
    assert 2_000 < used / count < 5_000
