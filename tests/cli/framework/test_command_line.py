from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servers.launch import in_ci
from tests.cli.running import call, call_script, clean_environment

HEAVY = ("bytewax", "confluent_kafka", "neo4j", "grpc", "polars", "rich", "yaml", "msgspec")
SERVERS = ("bytewax", "confluent_kafka", "neo4j", "grpc", "polars", "rich")
COMMANDS = ("diff", "node-id", "compute-key", "explain-error", "completion")
SERVER_COMMANDS = (
    "init",
    "neo4j-init",
    "neo4j-rollback",
    "neo4j-backfill",
    "export-schema",
    "topics history",
)


@pytest.mark.parametrize(
    "words", [["--help"], *([*name.split(), "--help"] for name in (*COMMANDS, *SERVER_COMMANDS))]
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\nfrom dagmanager.cli.main import qmtl\n"
        f"code = qmtl(['service', 'dagmanager', *{words!r}])\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = call_script(script)
    assert (done.code, done.err.strip()) == (0, "[]")
    assert "examples:" in done.out
    assert ("exit codes:" in done.out) == (words == ["--help"]), "listed once"
    assert max(map(len, done.out.partition("examples:")[0].splitlines())) <= 80


@pytest.mark.parametrize(
    "words",
    [
        ["diff", "--file", "no-such.json"],
        ["config", "validate"],
        ["config", "sample"],
        ["explain-error"],
        ["topics", "history", "--at", "2026-11-23", "--from", os.devnull],
    ],
)
def test_commands_load_no_server_client(words: list[str]) -> None:
    script = (
        "import sys\nfrom dagmanager.cli.main import dagmanager\n"
        f"dagmanager({words!r})\nprint('LOADED', sorted(set({SERVERS!r}) & set(sys.modules)))"
    )
    assert "LOADED []" in call_script(script).out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, ""),
        (["--version"], 0, ""),
        ([], 2, ""),
        (["dif"], 2, "did you mean `diff`?"),
        (["config", "valdate"], 2, "did you mean `validate`?"),
        (["diff"], 2, "give one FILE"),
        (["diff", "--fil", "x"], 2, "did you mean `--file`?"),
        (["diff", "x", "--file", "x"], 2, "given twice"),
        (["help"], 0, ""),
        (["help", "diff"], 0, ""),
        (["help", "dif"], 2, "did you mean `diff`?"),
        (["-V"], 0, ""),
        (["version"], 0, ""),
        (["diff", "--file", "x", "--basline", "y"], 2, "did you mean `--baseline`?"),
        (["diff", "--file", "-", "--baseline", "-"], 2, "only once"),
        (["diff", "--file", "x", "--baseline", "y", "--store", "z"], 2, "two things to compare with"),
        (["diff", "--file", "no-such.json"], 2, "no-such.json"),
        (["diff", "--file", "."], 2, "folder"),
        (["diff", "--file", "x", "--markdown", "--json=1"], 2, "ignored explicit argument"),
        (["diff", "--file", "a\nb"], 2, "a\\nb"),
        (["explain-error", "node_id_mismach"], 2, "did you mean `node_id_mismatch`?"),
        (["completion", "fsh"], 2, "did you mean `fish`?"),
        (["config", "validate", "--config", "no-such.yml"], 2, "no-such.yml"),
        (["--debug", "explain-error", "expired"], 0, ""),
    ],
)
def test_exit_codes_and_streams(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = call(*words, cwd=tmp_path)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert "\x1b" not in done.out + done.err
    assert bool(done.err) == (code != 0 and bool(words))


def test_qmtl_is_the_same_with_a_prefix() -> None:
    script = (
        "from dagmanager.cli.main import qmtl\nimport sys\nsys.exit(qmtl(['service', 'dagmanager', 'dif']))"
    )
    done = call_script(script)
    assert done.code == 2
    assert "did you mean `diff`?" in done.err
    assert "qmtl service dagmanager --help" in done.err


def test_errors_as_json_have_the_shape_of_every_entry_point() -> None:
    done = call("diff", "--file", "no-such.json", "--json")
    assert (done.code, done.err) == (2, "")
    error = json.loads(done.out)["error"]
    assert set(error) == {"code", "message", "field", "node_id", "expected", "got", "details"}
    assert error["code"] == "unreadable_file"


def test_a_near_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategy.json").touch()
    assert "strategy.json" in call("diff", "--file", "stratgy.json", cwd=tmp_path).err


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in call("diff", "--file", "no-such.json", "--debug").err


def test_arguments_that_are_no_text() -> None:
    done = call(b"\xff\xfe")
    assert done.code == 2
    assert "unknown command" in done.err
    done = call("diff", "--file", b"\xff")
    assert (done.code, "Traceback" in done.err) == (2, False)


@pytest.mark.parametrize(("closed", "code"), [(0, 2), (1, 2), (2, 0)])
def test_closed_streams(closed: int, code: int) -> None:
    command = f"printf '{{}}' | {sys.executable} -m dagmanager.cli node-id {closed}>&-"
    if closed == 0:
        command = f"{sys.executable} -m dagmanager.cli node-id <&-"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves() -> None:
    lines = "yes '{}' | head -20000"
    command = f"{lines} | {sys.executable} -m dagmanager.cli node-id | head -1; echo ${{PIPESTATUS[2]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.stdout.splitlines()[-1] == "141"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists() and not in_ci(), reason="this system has no /dev/full")
def test_a_full_disk() -> None:
    command = f"{sys.executable} -m dagmanager.cli explain-error > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupt() -> None:
    command = [sys.executable, "-m", "dagmanager.cli", "node-id"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        # Who runs the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"x\n")
        process.stdin.flush()
        assert process.stderr.readline()  # the bad line was answered: the command is running
        os.kill(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130
    assert rest.splitlines()[-1] == b"interrupted"
    assert b"Traceback" not in rest


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm"}])
def test_colour_is_for_terminals_that_want_it(env: dict[str, str]) -> None:
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "dagmanager.cli", "dif"],
        stdin=child, stdout=child, stderr=child, env={k: v for k, v in clean_environment().items() if k != "NO_COLOR"} | env,
    ) as process:  # fmt: skip
        process.wait()
    os.close(child)
    shown = os.read(parent, 4096)
    os.close(parent)
    assert b"did you mean" in shown
    assert (b"\x1b" in shown) == (env == {"TERM": "xterm"})
