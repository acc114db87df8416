"""What a run answers to a signal at any moment, and to files that it cannot use."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagmanager.errors import SettingsError, UnavailableError
from flows.failures import explained
from tests.flows.test_entry_points import ROOT, environment, lines, run
from tests.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.slow

STOPPED_WHILE_IMPORTING = """
import os, signal, sys
class Stop:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "flows.runner":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Stop)
from flows.run import main
sys.exit(main(sys.argv[1:]))
"""


def finished(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_a_stop_before_the_run_began_drains_at_once(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"{}\n")
    recovery = ["--recovery", str(tmp_path / "r")]
    done = finished(tmp_path, [sys.executable, "-c", STOPPED_WHILE_IMPORTING, *recovery])
    assert done.returncode == 0, done.stderr
    assert "stopped before anything was read" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_command_becomes_the_flow_drains_at_once(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Python runs `sitecustomize` before a line of ours; the same process imports it twice."""
    (tmp_path / "in.jsonl").write_bytes(b"{}\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"if 'flows.run' in sys.orig_argv: os.kill(os.getpid(), {number})\n"
    )
    done = interrupted(tmp_path, "run")
    assert done.returncode == 0, done.stderr
    assert "stopped before anything was read" in done.stderr
    assert "Traceback" not in done.stderr


def interrupted(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, with the folder's `sitecustomize`."""
    surroundings = environment(folder)
    surroundings["PYTHONPATH"] = f"{folder}{os.pathsep}{surroundings['PYTHONPATH']}"
    command = [sys.executable, "-m", "dagmanager.cli", *words]
    return subprocess.run(
        command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_a_line_without_an_end_delays_no_stop(tmp_path: Path) -> None:
    with (tmp_path / "in.jsonl").open("wb") as file:
        file.truncate(1 << 38)  # takes minutes to read, and no room on disk
    options = ["--heartbeat", str(tmp_path / "alive"), "--recovery", str(tmp_path / "r")]
    command = [sys.executable, "-m", "flows.run", *options]
    with subprocess.Popen(command, cwd=ROOT, env=environment(tmp_path), stderr=subprocess.PIPE) as process:
        assert process.stderr
        until((tmp_path / "r" / "start.json").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert b"shut down cleanly" in process.stderr.read()


def test_a_closed_standard_input_is_refused_in_one_line(tmp_path: Path) -> None:
    words = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "flows.run", "--submissions", "-"]
    done = finished(tmp_path, words)
    assert done.returncode == 2, done.stderr
    assert "standard input cannot be read: it is closed\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_json_file_is_answered(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"")
    (tmp_path / "in" / "b.json").write_bytes(b"\n")
    assert run(tmp_path, "flows.run", "--submissions", str(tmp_path / "in")).returncode == 0
    assert [each["error"]["code"] for each in lines(tmp_path)] == ["invalid_json"] * 2  # type: ignore[index]  # JSON


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_that_cannot_be_used_is_named_without_a_stack_of_ours(workers: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"{}\n")
    (tmp_path / "out" / "diffs.jsonl").mkdir(parents=True)
    done = run(tmp_path, "flows.run", "--workers", workers)
    assert done.returncode == 2, done.stderr
    assert f"error[settings]: {tmp_path / 'out' / 'diffs.jsonl'}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((each, SettingsError) for each in (errno.EISDIR, errno.EACCES, errno.EROFS, errno.ENOENT)),
        *((each, UnavailableError) for each in (errno.ENOSPC, errno.EDQUOT, errno.EIO)),
        (errno.EBADF, type(None)),
    ],
)
def test_system_errors_are_permanent_transient_or_internal_errors(number: int, kind: type) -> None:
    wrapped = RuntimeError("error calling a step")
    wrapped.__cause__ = OSError(number, os.strerror(number), "some/file")
    for recovery in (None, Path("r")):
        found = explained(wrapped, recovery)
        assert isinstance(found, kind)
        if found is not None:
            assert str(found) == f"some/file cannot be used: {os.strerror(number)}"


def test_an_internal_error_keeps_its_stack() -> None:
    for fault in (KeyError("x"), RuntimeError("some fault"), KeyboardInterrupt()):
        assert explained(fault, Path("r")) is None
