from __future__ import annotations

import json
import subprocess

import pytest

from dagmanager.cli.completion import SHELLS, spots
from dagmanager.cli.error_page import codes, page, remedy
from dagmanager.cli.problem import COMMAND_LINE_CODES
from dagmanager.errors import STATUS, ErrorCode
from tests.cli.running import call


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert set(codes()) == {code.value for code in ErrorCode} | set(COMMAND_LINE_CODES)


@pytest.mark.parametrize("code", codes())
def test_a_page_is_whole(code: str) -> None:
    found = page(code)
    assert found.text.startswith(f"# {code}\n")
    assert all((found.title, found.cause, found.example, found.remedy, remedy(code)))


def test_a_page_in_both_forms() -> None:
    assert "## Remedy" in call("explain-error", "dependency-cycle").out
    shown = json.loads(call("explain-error", "unavailable", "--json").out)
    assert (shown["grpc_status"], shown["http_status"]) == STATUS[ErrorCode.UNAVAILABLE]
    assert shown["retryable"] is True


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_names_every_command_and_option(shell: str) -> None:
    script = call("completion", shell).out
    for program in ("qmtl", "dagmanager"):
        for spot in spots(program):
            assert f'"{spot.path}"' in script
            for word, _ in spot.choices:
                assert word.removeprefix("--") in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dagmanager", "di"], ["diff"]),
        (["qmtl", "service", "dagmanager", "node"], ["node-id"]),
        (["dagmanager", "diff", "--base"], ["--baseline"]),
        (["dagmanager", "explain-error", "lat"], ["late"]),
        (["dagmanager", "diff", "--domain", "l"], ["live"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    script = call("completion", "bash").out
    script += f"\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
    script += '_qmtl_dagmanager; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
