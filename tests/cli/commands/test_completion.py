"""What a TAB offers, asked of bash itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import call

ASK = """
COMP_WORDS=(dagmanager {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMPREPLY=()
_qmtl_dagmanager
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script() -> str:
    return call("completion", "bash").out


def offered(script: str, folder: Path, words: str) -> list[str]:
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", script + ASK.format(words=words)], cwd=folder, capture_output=True, text=True, check=True
    )
    return sorted(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        *(
            (f'{option} ""', ["file", "folder"])
            for option in (
                "run --submissions", "run --heartbeat", "run --store", "run --config", "export-schema --out",
                "topics history --from", "neo4j-init --password-file", "diff --file", "diff --baseline",
                "config validate", "diff",
            )
        ),
        ('run --results ""', ["folder"]),
        ('run --recovery ""', ["folder"]),
        ('run --workers ""', []),
        ('diff --domain "l"', ["live"]),
        ("diff --file =", ["file", "folder"]),
        ('diff --file = "fi"', ["file"]),
        ('completion "f"', ["fish"]),
    ],
)  # fmt: skip
def test_a_file_is_offered_where_one_is_due(
    words: str, expected: list[str], script: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert offered(script, tmp_path, words) == expected
