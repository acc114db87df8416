"""Runs the command line as a user does: a process, its streams, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    """What a finished command left."""

    code: int
    out: str
    err: str


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAGMANAGER_")}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(extra or {})


def call(
    *words: str | bytes,
    stdin: str | bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """`dagmanager WORDS`."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "dagmanager.cli", *words],
        input=given,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=clean_environment(env),
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def call_script(script: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Done:
    """Python code in a process of its own."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, check=False, text=True, cwd=cwd, env=clean_environment(env)
    )
    return Done(done.returncode, done.stdout, done.stderr)
