"""A record that kills the process is quarantined after three deaths; other records are answered. Real processes."""

from __future__ import annotations

import base64
import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from blake3 import blake3

from tests.flows.poisoned import STEPS
from tests.flows.strategies import node
from tests.flows.test_entry_points import environment, lines
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.slow

COUNT = 100
BAD = 70
STARTS_MAX = 12


def submission(number: int, worlds: tuple[str, ...] = ("w",)) -> bytes:
    """A strategy of its own lineage."""
    dag = {"nodes": [node(random.Random(number), [], "n")], "meta": {"strategy_name": f"line{number}"}}
    given = {"world_ids": list(worlds), "compute_context": {"execution_domain": "live"}, "dag": dag}
    return orjson.dumps(["gateway.ingest", 1, f"s{number}", given]) + b"\n"


def command(folder: Path, step: str, how: str, whom: str, *options: str) -> list[str]:
    kept = ["--recovery", str(folder / "r"), "--store", str(folder / "graph.sqlite"), "--epoch-seconds", "0"]
    return [sys.executable, "-m", "tests.flows.poisoned", step, how, whom, *kept, *options]


def process(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def supervised(folder: Path, words: list[str]) -> tuple[list[int], str]:
    """Start it again until it ends well; every exit code, and what the last start said."""
    codes: list[int] = []
    for _ in range(STARTS_MAX):
        done = process(folder, words)
        codes.append(done.returncode)
        if done.returncode == 0:
            return codes, done.stderr
    raise AssertionError(codes)


def letters(folder: Path) -> list[dict[str, Any]]:
    content = (folder / "out" / "dead-letters.jsonl").read_bytes()
    return [orjson.loads(line) for line in content.splitlines()]


def first_answers(folder: Path) -> list[str]:
    """Strategies in the order in which they were first answered; every replay must equal the first."""
    found: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    order: list[str] = []
    for each in lines(folder):
        found[str(each["strategy_id"]), str(each["world_id"])].add(orjson.dumps(each))
        if each["strategy_id"] not in order:
            order.append(str(each["strategy_id"]))
    assert all(len(values) == 1 for values in found.values()), "a replay differs"
    return order


def assert_only_these_are_quarantined(folder: Path, bad: set[str]) -> None:
    for each in lines(folder):
        if each["strategy_id"] in bad:
            assert each["error"]["code"] == "quarantined"  # type: ignore[index]  # JSON
        else:
            assert each["status"] == "ok"
    assert {each["key"] for each in letters(folder)} == bad


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number) for number in range(COUNT)))
    return tmp_path


@pytest.mark.parametrize(
    ("step", "how", "code", "workers"),
    [
        *((step, "kill", -signal.SIGKILL, "1") for step in STEPS),
        ("lookup", "raise", 70, "1"),
        ("upsert", "kill after", -signal.SIGKILL, "1"),
        # Before, at and after the exchange between workers, and by a panic.
        *((step, "kill", -signal.SIGKILL, "2") for step in ("canonicalize", "upsert", "finish", "diffs")),
        ("lookup", "raise", 70, "2"),
    ],
)
def test_a_record_at_which_the_process_died_three_times_is_quarantined(
    step: str, how: str, code: int, workers: str, folder: Path
) -> None:
    codes, said = supervised(folder, command(folder, step, how, f"s{BAD}", "--workers", workers))
    assert codes == [code, code, code, 0]
    assert_only_these_are_quarantined(folder, {f"s{BAD}"})
    order = first_answers(folder)
    assert sorted(order) == sorted(f"s{number}" for number in range(COUNT))
    if workers == "1":
        assert order == [f"s{number}" for number in range(COUNT)]
    letter = letters(folder)[0]
    headers = letter["headers"]
    assert base64.b64decode(letter["value_base64"]) == submission(BAD).rstrip()
    assert headers["attempts"] == "3"
    assert headers["source-topic"] == str(folder / "in.jsonl")
    assert headers["source-offset"] == str(BAD + 1)
    named = "upsert" if step == "finish" else step
    assert f"the last time in step {named}" in orjson.loads(headers["error"])["message"]
    assert "is quarantined" in said
    assert not list((folder / "r").glob("hand-*"))
    assert not (folder / "r" / "attempts.json").exists()


def test_poisons_side_by_side_are_quarantined_one_after_the_other(folder: Path) -> None:
    whom = f"s{BAD},s{BAD + 1}"
    codes, _ = supervised(folder, command(folder, "upsert", "kill", whom))
    assert len(codes) <= 2 * 3 + 1
    assert_only_these_are_quarantined(folder, set(whom.split(",")))
    assert first_answers(folder) == [f"s{number}" for number in range(COUNT)]


def test_a_dead_letter_that_kills_is_written_without_its_bytes(folder: Path) -> None:
    given = b'{"strategy_id": "bad", "dag": {"nodes": 7}}'
    before = (folder / "in.jsonl").read_bytes()
    (folder / "in.jsonl").write_bytes(before + given + b"\n" + submission(COUNT))
    codes, _ = supervised(folder, command(folder, "dead_letters", "kill", "bad"))
    assert codes == [-signal.SIGKILL] * 3 + [0]
    [letter] = letters(folder)
    assert letter["value_base64"] == ""
    headers = letter["headers"]
    assert headers["attempts"] == "3"
    assert "the last time in step dead_letters" in orjson.loads(headers["error"])["message"]
    assert headers["value-length"] == str(len(given))
    assert headers["value-digest"] == "blake3:" + blake3(given).hexdigest()
    assert f"s{COUNT}" in {each["strategy_id"] for each in lines(folder)}


def test_kills_while_a_sink_waits_for_its_disk_quarantine_nothing(folder: Path) -> None:
    (folder / "away").touch()
    words = command(folder, "append", "away", "")
    for _ in range(4):
        with subprocess.Popen(
            words, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True
        ) as killed:
            assert killed.stderr
            while "diffs: waiting for a store" not in (said := killed.stderr.readline()):
                assert said, "it ended"
            killed.kill()
    (folder / "away").unlink()
    done = process(folder, words)
    assert done.returncode == 0, done.stderr
    assert "died" not in done.stderr
    assert {each["status"] for each in lines(folder)} == {"ok"}


def test_a_poison_for_several_worlds_is_quarantined_whole(tmp_path: Path) -> None:
    worlds = ("w1", "w2", "w3")
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number, worlds) for number in range(9)))
    codes, _ = supervised(tmp_path, command(tmp_path, "upsert", "kill", "s4"))
    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert_only_these_are_quarantined(tmp_path, {"s4"})
    assert len(letters(tmp_path)) == 1


@pytest.mark.parametrize("step", ["lookup", "upsert"])
def test_kills_during_an_outage_quarantine_nothing(step: str, folder: Path) -> None:
    (folder / "away").touch()
    alive = folder / "alive"
    words = command(folder, step, "away", f"s{BAD}", "--heartbeat", str(alive))
    (folder / "settings.yaml").write_text("dagmanager: {claim_poll_seconds: 0.2}\n")
    words += ["--config", str(folder / "settings.yaml")]
    for _ in range(4):
        alive.unlink(missing_ok=True)
        with subprocess.Popen(
            words, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True
        ) as killed:
            until(lambda: alive.exists() and alive.read_text().startswith("waiting"))
            assert alive.read_text() == f"waiting: {step}: the store is unreachable\n"
            killed.kill()
            assert killed.stderr
            assert f"{step}: waiting for a store (the store is unreachable)" in killed.stderr.read()
    (folder / "away").unlink()
    done = process(folder, words)
    assert done.returncode == 0, done.stderr
    assert "died" not in done.stderr
    assert {each["status"] for each in lines(folder)} == {"ok"}
    assert first_answers(folder) == [f"s{number}" for number in range(COUNT)]


def test_an_attempt_is_forgotten_when_the_record_was_answered(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join(submission(number) for number in range(300)))
    (tmp_path / "once").touch()
    assert process(tmp_path, command(tmp_path, "hash", "once", "s10")).returncode == -signal.SIGKILL
    second = process(tmp_path, command(tmp_path, "hash", "kill", "s290"))
    assert second.returncode == -signal.SIGKILL
    assert "record 11 of" in second.stderr
    third = process(tmp_path, command(tmp_path, "hash", "once", "s290"))
    assert third.returncode == 0, third.stderr
    assert "record 291 of" in third.stderr
    assert "record 11 of" not in third.stderr
    assert {each["status"] for each in lines(tmp_path)} == {"ok"}


def test_without_a_recovery_folder_nothing_is_counted(folder: Path) -> None:
    words = [sys.executable, "-m", "tests.flows.poisoned", "hash", "kill", f"s{BAD}"]
    assert [process(folder, words).returncode for _ in range(4)] == [-signal.SIGKILL] * 4
