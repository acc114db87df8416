"""The flow as a process: Bytewax's own runner, ours, signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from dagmanager.assembly import ADMIN_LOG_FILE
from flows.run import main
from servers.ports import free_port
from tests.flows.strategies import Market, pool
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def submissions(path: Path, count: int = 20) -> None:
    dice = random.Random(3)
    market = Market(dice, pool(dice, 6, "n"))
    path.write_bytes(b"\n".join(market.strategy(f"s{dice.randint(0, 3)}") for _ in range(count)))


def environment(folder: Path) -> dict[str, str]:
    path = {"DAGMANAGER_SUBMISSIONS_PATH": str(folder / "in.jsonl")}
    return os.environ | path | {"DAGMANAGER_RESULTS_PATH": str(folder / "out"), "PYTHONPATH": str(ROOT)}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A finished process. No stop of ours shows the text of a Rust panic."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "panicked" not in done.stderr
    return done


def lines(folder: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in (folder / "out" / "diffs.jsonl").read_bytes().splitlines()]


def answers(folder: Path) -> set[object]:
    return {(each["submission_id"], each["world_id"]) for each in lines(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    submissions(tmp_path / "in.jsonl")
    return tmp_path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_bytewax_runs_the_flow_with_and_without_recovery(folder: Path, workers: str) -> None:
    done = run(folder, "bytewax.run", "flows.submissions", "-w", workers)
    assert done.returncode == 0, done.stderr
    first = lines(folder)
    assert len(answers(folder)) >= 20
    recovery = folder / "recovery"
    recovery.mkdir()
    assert run(folder, "bytewax.recovery", str(recovery), "2").returncode == 0
    options = ["-w", workers, "-r", str(recovery), "-s", "1", "-b", "0"]
    for _ in range(2):  # the second run resumes at the end of the file
        done = run(folder, "bytewax.run", "flows.submissions", *options)
        assert done.returncode == 0, done.stderr
    assert len(lines(folder)) == 2 * len(first)


@pytest.mark.parametrize("cluster", [[], ["-i", "1", "-a"]])
def test_a_process_of_bytewax_polls_although_it_reads_nothing(
    cluster: list[str], folder: Path, free_ports: list[int]
) -> None:
    """It finishes the claim of a process that was killed, without any new submission (docs/semantics.md 6)."""
    submissions(folder / "in.jsonl", 1)
    own = {"MEMORY_REPO_PATH": str(folder / "g"), "CLAIM_LEASE_SECONDS": "0.5", "CLAIM_POLL_SECONDS": "0.1"}
    own = environment(folder) | {f"DAGMANAGER_{name}": value for name, value in own.items()}
    died = subprocess.run(
        [sys.executable, "-m", "tests.flows.poisoned", "finish", "kill", "s0,s1,s2,s3"],
        cwd=ROOT, env=own, capture_output=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    log = folder / "out" / ADMIN_LOG_FILE
    assert not log.exists()
    addresses = [";".join(f"127.0.0.1:{port}" for port in free_ports)] if cluster else []
    command = [sys.executable, "-m", "bytewax.run", "flows.submissions", *cluster, *addresses]
    own["DAGMANAGER_SUBMISSIONS_PATH"] = "-"  # stays open
    with subprocess.Popen(
        command, cwd=ROOT, env=own, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until(lambda: log.exists() and b"\n" in log.read_bytes())
        process.kill()


@pytest.fixture
def free_ports() -> list[int]:
    return [free_port(), free_port()]


def test_our_runner_resumes_where_it_stopped(folder: Path) -> None:
    options = ["flows.run", "--recovery", str(folder / "r"), "--store", str(folder / "graph.sqlite")]
    assert run(folder, *options).returncode == 0
    before = lines(folder)
    with (folder / "in.jsonl").open("ab") as file:
        file.write(b"\n" + (folder / "in.jsonl").read_bytes().splitlines()[0] + b"\n")
    done = run(folder, *options)
    assert done.returncode == 0, done.stderr
    assert lines(folder)[: len(before)] == before
    [after] = lines(folder)[len(before) :]  # nothing of the first run is read again
    assert after["submission_digest"] == before[0]["submission_digest"]
    assert after["submission_id"] not in {each["submission_id"] for each in before}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "flows.run", "--submissions", "-"]
    lines_in = (folder / "in.jsonl").read_bytes().splitlines()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(folder), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"\n".join(lines_in[:3]) + b"\n" + lines_in[3][:10])
        process.stdin.flush()
        until(lambda: (folder / "out" / "diffs.jsonl").exists() and len(answers(folder)) >= 3)
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
        assert b"shut down cleanly" in process.stderr.read()
    assert all(each["submission_id"] for each in lines(folder)), "half a line is no submission"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--submissions", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["--submissions", "-", "--recovery", "r"], "standard input cannot be read again"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("option", ["--store", "--submissions", "--results"])
def test_an_option_of_an_embedded_run_is_refused_with_servers(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGMANAGER_NEO4J_DSN", "bolt://127.0.0.1:1")
    monkeypatch.setenv("DAGMANAGER_KAFKA_DSN", "127.0.0.1:1")
    assert main([option, "x"]) == 2
    assert option in capsys.readouterr().err
