"""What a person reads after Ctrl-C, and what it leaves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.test_entry_points import ROOT, environment, submissions
from tests.flows.test_poison import submission
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.slow

# A step that hangs in a store, as in a driver without a read time limit; no Python code runs in the main thread.
HANGING = """
import sys, ctypes
from pathlib import Path
from dagmanager.engine.engine import Engine
def hang(self, planned):
    Path("hangs").touch()
    ctypes.CDLL(None).sleep(3600)
Engine.claim = hang
from flows.run import run_process
sys.exit(run_process())
"""


def begun(folder: Path, command: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdin=stdin, stdout=log, stderr=log
        )


def log(folder: Path) -> str:
    return (folder / "log").read_text()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_answered_at_once_and_the_second_ends_it_without_a_strike(
    second: signal.Signals, tmp_path: Path
) -> None:
    submissions(tmp_path / "in.jsonl")
    command = [
        sys.executable,
        "-c",
        HANGING,
        "--recovery",
        str(tmp_path / "r"),
        "--store",
        str(tmp_path / "g"),
    ]
    for _ in range(3):  # three deaths would quarantine the record
        (tmp_path / "hangs").unlink(missing_ok=True)
        (tmp_path / "log").unlink(missing_ok=True)
        process = begun(tmp_path, command)
        until((tmp_path / "hangs").exists)
        process.send_signal(signal.SIGINT)
        until(lambda: "Ctrl-C: stopping. Nothing more is read" in log(tmp_path))
        assert "again aborts at once" in log(tmp_path)
        assert process.poll() is None
        process.send_signal(second)
        assert process.wait(TIMEOUT_S) == -second
        assert "aborted; records that were read may be unanswered" in log(tmp_path)
        assert "panicked" not in log(tmp_path)
    (tmp_path / "log").unlink()
    ended = begun(tmp_path, [sys.executable, "-m", "flows.run", *command[3:]]).wait(TIMEOUT_S)
    assert (ended, "process died" in log(tmp_path), "quarantined" in log(tmp_path)) == (0, False, False)


def removed(folder: Path) -> bool:
    """Whether it is gone; another worker may write a file there while it is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_that_is_removed_ends_the_run_in_one_line_without_a_panic(
    workers: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "flows.run", "--submissions", "-", "--workers", workers]
    process = begun(tmp_path, command, subprocess.PIPE)
    assert process.stdin
    process.stdin.write(submission(1) + b"\n")
    process.stdin.flush()
    diffs = tmp_path / "out" / "diffs.jsonl"
    until(lambda: diffs.exists() and b"\n" in diffs.read_bytes())
    until(lambda: removed(tmp_path / "out"))
    process.stdin.write(submission(2) + b"\n")
    process.stdin.close()
    assert process.wait(TIMEOUT_S) == 2
    assert "error[settings]: " in log(tmp_path)
    assert "panicked" not in log(tmp_path)
    assert "Traceback" not in log(tmp_path)


def test_a_defect_ends_with_70_its_traceback_and_the_panic(tmp_path: Path) -> None:
    submissions(tmp_path / "in.jsonl")
    broken = "from dagmanager.engine.engine import Engine\nEngine.classify = lambda *_: {}['a fault']\n"
    code = f"import sys\n{broken}from flows.run import run_process\nsys.exit(run_process())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 70, done.stderr
    assert "KeyError: 'a fault'" in done.stderr
    assert "error[internal]: " in done.stderr
