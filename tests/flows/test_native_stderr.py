"""What a person sees of what native code writes to standard error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.flows.test_entry_points import ROOT
from tests.waiting import TIMEOUT_S

PANIC = b"thread '<unnamed>' panicked at src/operators.rs:198:33:\nBox<dyn Any>\nnote: run with it\n"
SCRIPT = """
import os, signal, sys
from flows.native_stderr import panics_held_back
with panics_held_back() as reported:
    os.write(2, b"a client's own words\\n")
    os.write(2, {panic})
    print("our error", file=sys.stderr)
    {end}
print("still here", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("end", "is_shown"),
    [
        ("reported()", False),
        ("pass", True),
        ("reported(); os.kill(os.getpid(), signal.SIGKILL)", False),
        ("os.kill(os.getpid(), signal.SIGKILL)", True),
        ("os.write(2, b'assertion failed'); os.abort()", True),
    ],
)
def test_a_panic_is_shown_unless_its_failure_was_reported(end: str, is_shown: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(panic=PANIC, end=end)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ("panicked" in done.stderr, "Box<dyn Any>" in done.stderr) == (is_shown, is_shown)
    assert "a client's own words\n" in done.stderr
    assert "our error\n" in done.stderr
    assert ("still here\n" in done.stderr) == ("kill" not in end and "abort" not in end)
    assert ("assertion failed" in done.stderr) == ("assertion" in end)


def test_a_closed_standard_error_stays_closed() -> None:
    script = (
        "from flows.native_stderr import panics_held_back\nwith panics_held_back() as r: r(); print('fine')"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert done.stdout == b"fine\n"
