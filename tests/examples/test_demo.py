"""`make demo` as a person reads it: the tables of `diff`, in any width."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dagmanager.terminal.text import display_width
from examples.demo import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo writes into the working directory."""
    monkeypatch.chdir(tmp_path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0, "an answer is missing, or is not as it was planned"
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80])
def test_the_demo_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = shown(capsys)
    assert max(map(display_width, out.splitlines())) <= columns
    assert "\x1b" not in out, "a pipe gets no colours"
    assert not re.search("[0-9a-f]{16}", out), "ids and hashes are shown with --wide only"


def test_the_demo_shows_the_reasons_of_the_engine_and_the_summary_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    second = shown(capsys).split("MultiIndicatorStrategy in demo.live\n")[-1].splitlines()
    assert [line.split()[:3] for line in second[:6]] == [
        ["action", "name", "reason"],
        ["buffer", "stream_input", "schema_changed"],
        ["reuse", "ema", "same_spec"],
        ["reuse", "ema", "same_spec"],
        ["create", "rsi", "new_node"],
        ["remove", "rsi", "removed"],
    ]
    assert second[6] == "  changed: stream_input: schema_hash 44136fa3… -> 00000000…"
    assert second[7] == "  cost: 1 new topic; 50 periods of history to read again; 2 nodes unchanged"
    assert second[8] == "  1 create, 2 reuse, 1 buffer, 1 removed, version v2"


def test_the_demo_shows_whole_ids_with_wide(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(re.findall("blake3:[0-9a-f]{64}$", shown(capsys, "--wide"), re.MULTILINE)) >= 20


def test_a_reader_that_leaves_ends_the_demo_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
