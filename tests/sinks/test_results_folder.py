"""The flow as a process over a results folder that refuses: full, or not what it should be."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.run import main
from servers.launch import in_ci
from tests.flows.strategies import Market, pool
from tests.waiting import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
FILES = ("diffs.jsonl", "dead-letters.jsonl", "queue-events.jsonl", "admin-log.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dice = random.Random(3)
    market = Market(dice, pool(dice, 6, "n"))
    lines = [market.strategy(f"s{number}") for number in range(5)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([*lines, b'{"strategy_id": "bad"}', b""]))
    (tmp_path / "out").mkdir()
    return tmp_path


def options(folder: Path) -> list[str]:
    return ["--submissions", str(folder / "in.jsonl"), "--results", str(folder / "out")]


@pytest.mark.skipif(not Path("/dev/full").exists() and not in_ci(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", FILES)
def test_a_run_on_a_full_disk_waits_and_ends_with_4_when_it_is_stopped(folder: Path, name: str) -> None:
    (folder / "out" / name).symlink_to("/dev/full")
    with subprocess.Popen(
        [sys.executable, "-m", "flows.run", *options(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "waiting for a store" in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(TIMEOUT_S) == 4
    [last] = (line for line in rest.splitlines() if line.startswith("error[unavailable]: "))
    assert last.endswith(": No space left on device")
    assert f"{name} cannot be" in last
    assert "Traceback" not in rest


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_start(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out" / name).mkdir()
    assert main(options(folder)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert f"error[settings]: {folder / 'out' / name} cannot be written: Is a directory" in lines


def test_results_that_are_no_folder_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").rmdir()
    (folder / "out").touch()
    assert main(options(folder)) == 2
    assert "out cannot be used as results_path: File exists" in capsys.readouterr().err
