"""Runs that begin, resume or are refused; each a process with its recovery folder."""

from __future__ import annotations

import pickle
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import orjson
import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dagmanager.disk.replace_file import temporary_of
from dagmanager.errors import SettingsError
from flows.failures import explained
from flows.recovery import START_FILE, STEPS_FILE, Reading, Start, StartFile, Steps, prepared
from flows.recovery_upgrade import FORMER_STEPS, REMOVED_STEP, delete_removed_state
from operators.steps.exchange import shard_of
from tests.flows.strategies import node
from tests.flows.test_entry_points import ROOT, environment, lines, run
from tests.flows.test_step_ids import flow
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.slow

MANY = 300
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from flows.run import run_process
del sys.argv[1]
sys.exit(run_process())
"""


def submission(number: int) -> bytes:
    """One more version of the same lineage."""
    dag = {"nodes": [node(random.Random(number), [], "n")], "meta": {"strategy_name": "line"}}
    fields = {"strategy_id": f"s{number}", "world_id": "w", "execution_domain": "live", "dag": dag}
    return orjson.dumps(fields) + b"\n"


def begun(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.run", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment(folder), stderr=subprocess.PIPE)


def start_ms(folder: Path) -> int:
    return msgspec.json.decode((folder / "r" / START_FILE).read_bytes(), type=Start).start_ms


def answered(folder: Path) -> int:
    path = folder / "out" / "diffs.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def interrupted(folder: Path, number: signal.Signals, *options: str) -> int:
    """A run that is sent a signal when it has answered some of what there is; its exit code."""
    with begun(folder, *options) as process:
        assert process.stderr
        until(lambda: answered(folder) >= MANY // 10)
        process.send_signal(number)
        process.stderr.read()
        return process.wait(TIMEOUT_S)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [each for each in done.stderr.splitlines() if each.startswith("error[")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_bytes(submission(0))
    return tmp_path


def test_files_added_to_a_folder_that_was_read_are_not_late(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(submission(1))
    (tmp_path / "other.jsonl").write_bytes(submission(2))
    kept = ["--submissions", str(tmp_path / "in"), "--recovery", str(tmp_path / "r")]
    for options in (kept, ["--submissions", str(tmp_path / "other.jsonl")], kept):
        done = run(tmp_path, "flows.run", *options, "--store", str(tmp_path / "graph.sqlite"))
        assert done.returncode == 0, done.stderr
        (tmp_path / "in" / "b.jsonl").write_bytes(submission(3))
    assert [each["status"] for each in lines(tmp_path)] == ["ok"] * 3


@pytest.mark.parametrize("epoch_s", ["0", "100"])
def test_a_killed_run_resumes_before_and_after_its_first_snapshot(epoch_s: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number) for number in range(MANY)))
    options = ["--recovery", str(tmp_path / "r"), "--epoch-seconds", epoch_s]
    assert interrupted(tmp_path, signal.SIGKILL, *options) == -signal.SIGKILL
    first_ms = start_ms(tmp_path)
    done = run(tmp_path, "flows.run", *options)
    assert done.returncode == 0, done.stderr
    assert len({each["submission_id"] for each in lines(tmp_path)}) == MANY, "a repeat is the same submission"
    assert start_ms(tmp_path) == first_ms
    assert run(tmp_path, "flows.run", *options).returncode == 0
    assert start_ms(tmp_path) > first_ms, "after its end, a new run begins"


def test_after_a_drained_run_the_next_one_continues_to_read(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number) for number in range(MANY)))
    options = ["--recovery", str(tmp_path / "r")]
    assert interrupted(tmp_path, signal.SIGTERM, *options) == 0
    first_ms, count = start_ms(tmp_path), answered(tmp_path)
    assert count < MANY
    assert run(tmp_path, "flows.run", *options).returncode == 0
    assert start_ms(tmp_path) > first_ms
    assert [each["strategy_id"] for each in lines(tmp_path)] == [f"s{number}" for number in range(MANY)]


def as_former_release(folder: Path, forgotten: int) -> None:
    """Make a folder of this release one of the former: its steps, and what they left per strategy id in the store."""
    steps = msgspec.json.decode((folder / STEPS_FILE).read_bytes(), type=Steps)
    former = msgspec.structs.replace(steps, stateful_steps=FORMER_STEPS)
    (folder / STEPS_FILE).write_bytes(msgspec.json.encode(former) + b"\n")
    state = pickle.dumps({"v": 1, "digest": b"d" * 16, "until": 4e9})
    rows = [(REMOVED_STEP, f"random{number}", 1, None) for number in range(forgotten)]
    with closing(sqlite3.connect(folder / "part-0.sqlite3")) as file, file:
        file.execute("DELETE FROM snaps WHERE step_id LIKE '%.exchange.%'")
        file.executemany(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)",
            [*rows, *((REMOVED_STEP, f"s{number}", 1, state) for number in range(3))],
        )


def rows_of(folder: Path, step: str) -> int:
    with closing(sqlite3.connect(folder / "part-0.sqlite3")) as file:
        [(rows,)] = file.execute("SELECT count(*) FROM snaps WHERE step_id = ?", (step,)).fetchall()
    return int(rows)


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_of_the_former_release_is_upgraded_and_the_run_resumes(tmp_path: Path, killed: bool) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number) for number in range(MANY)))
    folder, options = tmp_path / "r", ["--recovery", str(tmp_path / "r")]
    assert interrupted(tmp_path, signal.SIGTERM, *options) == 0
    count = answered(tmp_path)
    assert count < MANY
    as_former_release(folder, forgotten=100_000)
    if killed:  # after the deletion, before flow.json
        delete_removed_state(folder)
    done = run(tmp_path, "flows.run", *options)
    assert done.returncode == 0, done.stderr
    assert f"{0 if killed else 100_003} rows of a removed step are deleted" in done.stderr
    assert rows_of(folder, REMOVED_STEP) == 0
    assert [each["strategy_id"] for each in lines(tmp_path)] == [f"s{number}" for number in range(MANY)]
    again = run(tmp_path, "flows.run", *options)
    assert again.returncode == 0, again.stderr
    assert "upgraded" not in again.stderr


def test_a_former_folder_of_other_input_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(submission(0))
    options = ["--recovery", str(tmp_path / "r")]
    assert run(tmp_path, "flows.run", *options).returncode == 0
    as_former_release(tmp_path / "r", forgotten=5)
    (tmp_path / "other.jsonl").write_bytes(submission(1))
    refused = run(tmp_path, "flows.run", *options, "--submissions", str(tmp_path / "other.jsonl"))
    assert refused.returncode == 2
    assert rows_of(tmp_path / "r", REMOVED_STEP) == 8


def test_snapshots_of_a_store_that_is_gone_are_refused(folder: Path) -> None:
    options = ["--recovery", str(folder / "r"), "--store", str(folder / "graph.sqlite")]
    assert run(folder, "flows.run", *options).returncode == 0
    for each in folder.glob("graph.sqlite*"):
        each.unlink()
    done = run(folder, "flows.run", *options)
    assert done.returncode == 2, done.stderr
    assert len(complaints(done)) == 1
    assert "graph.sqlite, which does not exist" in complaints(done)[0]


def test_a_graph_in_memory_under_a_recovery_folder_is_warned_of(folder: Path) -> None:
    done = run(folder, "flows.run", "--recovery", str(folder / "r"))
    assert done.returncode == 0
    assert "WARNING dagmanager.flow: --recovery without --store" in done.stderr


def test_a_heartbeat_that_cannot_be_written_is_refused(folder: Path) -> None:
    done = run(folder, "flows.run", "--heartbeat", str(folder / "none" / "hb"))
    assert done.returncode == 2
    assert "--heartbeat" in complaints(done)[0]


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        ("other submissions", "belongs to a run with --submissions"),
        ("lost", "is damaged (part-0.sqlite3 is missing)"),
        ("emptied", "is damaged"),
        ("garbage", "is damaged (file is not a database)"),
        ("start", "is damaged (start.json"),
        ("in use", "is in use by another run"),
    ],
)
def test_a_recovery_folder_that_cannot_serve_is_refused_in_one_line(
    misuse: str, words: str, folder: Path
) -> None:
    recovery, part = folder / "r", folder / "r" / "part-0.sqlite3"
    options = ["--recovery", str(recovery)]
    assert run(folder, "flows.run", *options).returncode == 0
    with ExitStack() as stack:
        match misuse:
            case "other submissions":
                (folder / "other.jsonl").write_bytes(submission(1))
                options += ["--submissions", str(folder / "other.jsonl")]
            case "lost":
                part.unlink()
            case "emptied":
                part.write_bytes(b"")
            case "garbage":
                part.write_bytes(bytes(range(256)) * 32)
            case "start":
                (recovery / START_FILE).write_bytes(b"{")
            case _:
                stack.enter_context(prepared(recovery, flow(), Reading(str(folder / "in.jsonl"))))
        done = run(folder, "flows.run", *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert str(recovery) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(complaints(done)) == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            "upsert.finish",
            "submissions in progress in a state of version 99, unknown to this release: finish them",
        ),
        ("input", "a state of version 99, unknown to this release: use the release that wrote it"),
    ],
)
def test_the_state_of_another_release_is_refused_with_a_way_over(step: str, words: str, folder: Path) -> None:
    kept = ["--recovery", str(folder / "r"), "--store", str(folder / "graph.sqlite")]
    assert run(folder, "flows.run", *kept).returncode == 0
    full, key = (
        f"dagmanager_submissions.{step}",
        shard_of("other") if step != "input" else str(folder / "in.jsonl"),
    )
    with closing(sqlite3.connect(folder / "r" / "part-0.sqlite3")) as file, file:
        file.execute(
            "INSERT OR REPLACE INTO snaps (step_id, state_key, snap_epoch, ser_change) "
            "SELECT ?, ?, max(snap_epoch), ? FROM snaps WHERE step_id = 'dagmanager_submissions.input'",
            (full, key, pickle.dumps({"v": 99, "items": []})),
        )
    for _ in range(2):  # the refusal changes nothing
        done = run(folder, "flows.run", *kept)
        assert done.returncode == 2, done.stderr
        assert len(complaints(done)) == 1
        assert words in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    new = run(folder, "flows.run", "--recovery", str(folder / "new"), "--store", str(folder / "graph.sqlite"))
    assert new.returncode == 0, new.stderr


def test_a_folder_of_an_older_release_with_other_submissions_is_refused_too(folder: Path) -> None:
    assert run(folder, "flows.run", "--recovery", str(folder / "r")).returncode == 0
    steps = msgspec.json.decode((folder / "r" / STEPS_FILE).read_bytes())
    (folder / "r" / STEPS_FILE).write_bytes(msgspec.json.encode(steps | {"submissions": ""}))
    (folder / "other.jsonl").write_bytes(submission(1))
    options = ["--recovery", str(folder / "r"), "--submissions", str(folder / "other.jsonl")]
    done = run(folder, "flows.run", *options)
    assert done.returncode == 2, done.stderr
    assert "belongs to a run that read other submissions" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_an_older_release_keeps_its_partitions_and_misses_each(folder: Path) -> None:
    recovery, options = folder / "r", ["--recovery", str(folder / "r")]
    assert run(folder, "flows.run", *options).returncode == 0
    (recovery / "part-0.sqlite3").unlink()
    init_db_dir(recovery, 8)
    assert run(folder, "flows.run", *options).returncode == 0
    (recovery / "part-5.sqlite3").unlink()
    done = run(folder, "flows.run", *options)
    assert done.returncode == 2
    assert "is damaged (part-5.sqlite3 is missing)" in done.stderr


@pytest.mark.parametrize("damage", ["lost", "garbage"])
def test_what_bytewax_says_of_a_damaged_store_is_understood(damage: str, tmp_path: Path) -> None:
    """For damage that comes after our own look."""
    init_db_dir(tmp_path, 8)
    part = tmp_path / "part-3.sqlite3"
    part.unlink() if damage == "lost" else part.write_bytes(bytes(range(256)) * 32)
    with pytest.raises(Exception, match=r"Missing|not a database") as caught:
        run_main(flow(), recovery_config=RecoveryConfig(str(tmp_path)))
    known = explained(caught.value, tmp_path)
    assert isinstance(known, SettingsError)
    assert "is damaged" in str(known)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("limit", [3_000, 40_960], ids=["while it is made", "while it is filled"])
def test_no_room_for_the_recovery_folder_is_said_and_may_pass(
    limit: int, workers: str, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: SQLite is refused the same way."""
    foreign = b'["gateway.rebalance",1,"s1",{}]\n'  # writes nothing but snapshots
    (tmp_path / "in.jsonl").write_bytes(foreign * 64 * 40)
    options = ["--recovery", str(tmp_path / "r"), "--epoch-seconds", "0", "--workers", workers]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *options],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert f"error[unavailable]: recovery folder {tmp_path / 'r'} cannot be " in done.stderr
    assert "Traceback" not in done.stderr
    assert "panicked" not in done.stderr


def test_the_start_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    start = StartFile(tmp_path)
    assert start.kept_ms() is None
    start.keep(5)
    temporary_of(tmp_path / "start.json").write_bytes(b"{")  # a crash while the next one is written
    assert StartFile(tmp_path).kept_ms() == 5
    start.keep(6)
    assert start.kept_ms() == 6
