"""`make live` as a person uses it: rows come, Ctrl-C ends all of it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers.launch import Launch
from servers.ports import is_open
from tests.waiting import TIMEOUT_S, until

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ("topics of (BTC, MSTR, binance, nasdaq, price), 60 s, demo.live", "-sentinel v2 is 1")


@contextmanager
def live(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "examples.live", "--folder", str(folder), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # which ends its servers too


def read_until(process: subprocess.Popen[str], enough: Callable[[list[str]], bool]) -> list[str]:
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if enough(lines):
            break
    return lines


def rest(process: subprocess.Popen[str]) -> list[str]:
    text, _ = process.communicate(timeout=TIMEOUT_S)
    return text.splitlines()


def is_free(lock: Path) -> bool:
    """The flow holds its recovery folder's lock as long as it lives."""
    with lock.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def asked_by_the_client_alone(lines: list[str]) -> dict[str, Any]:
    """As docs/reference/clients.md shows it, in another terminal."""
    [kafka] = [line.split()[1] for line in lines if line.startswith("  kafka")]
    command = [sys.executable, "-m", "examples.client", kafka, "examples/MA1.json"]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def test_rows_come_until_ctrl_c_ends_all_of_it(launch: Launch, tmp_path: Path) -> None:
    with live(tmp_path / "live", "--every", "0.5") as process:
        # Events come beside the answers, sometimes after all of them.
        lines = read_until(
            process,
            lambda seen: all(any(word in line for line in seen) for word in ("a new version", *EVENTS)),
        )
        answer = asked_by_the_client_alone(lines)
        process.send_signal(signal.SIGINT)
        lines += rest(process)
        assert process.returncode == 0, lines
    assert answer["status"] == "ok"
    assert answer["actions"] == {"create": 0, "reuse": 2, "buffer": 0, "isolate": 0}
    text = "\n".join(lines)
    assert len(re.findall(r" v1 +2 +· +· +· +\d+\n", text)) >= 3, "strategies with two new nodes"
    assert "isolated: missing_as_of" in text
    assert "sent again by another id" in text
    assert re.search(r"MultiIndicatorStrategy +demo.live +v2 +1 +2 +1 ", text)
    # Of lists that follow each other closely only the last is sent.
    assert re.search(r"topics of \(BTC, MSTR, binance, nasdaq, price\), 60 s, demo.live: \d,", text)
    assert re.search(r"weight of \S+-sentinel v2 is 1", text)
    assert "shut down cleanly" in lines[-1]
    assert "all answered" in lines[-1]
    assert str(tmp_path / "live") in lines[-1]
    assert "\x1b" not in text, "a pipe gets no colours"
    assert max(len(line) for line in lines if " v1 " in line) <= 80
    assert "shut down cleanly" in (tmp_path / "live" / "flow.log").read_text()
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", text)]
    assert len(ports) == 2
    assert not any(map(is_open, ports))


def test_ctrl_c_while_the_servers_start_ends_them(launch: Launch, tmp_path: Path) -> None:
    with live(tmp_path / "live") as process:
        lines = read_until(process, lambda seen: seen[-1].startswith("  kafka"))
        process.send_signal(signal.SIGINT)
        lines += rest(process)
        assert process.returncode == 0, lines
    assert lines[-1].startswith("interrupted")
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", "\n".join(lines))]
    assert ports
    assert not any(map(is_open, ports))


def test_nothing_outlives_a_kill(launch: Launch, tmp_path: Path) -> None:
    with live(tmp_path / "live") as process:
        lines = read_until(process, lambda seen: seen[-1].startswith("  flow"))
        process.kill()
        lines += rest(process)
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", "\n".join(lines))]
    assert len(ports) == 2
    lock = tmp_path / "live" / "recovery" / "lock"
    until(lambda: not lock.exists() or is_free(lock), "the flow lives on")
    until(lambda: not any(map(is_open, ports)))
