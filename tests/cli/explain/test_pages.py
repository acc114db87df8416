from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dagmanager.cli.commands.completion import SHELLS, spots
from dagmanager.cli.explain.diff_text import REASONS
from dagmanager.cli.explain.error_page import codes, drawn, page, remedy
from dagmanager.dag.record.context import SAFE_MODE_REASONS
from dagmanager.errors import STATUS, ErrorCode, NoticeCode
from dagmanager.settings.finding import FindingCode
from dagmanager.terminal.report import COMMAND_LINE_CODES
from tests.cli.running import call, call_script


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    enums = (ErrorCode, NoticeCode, FindingCode)
    known = {code.value for enum in enums for code in enum} | set(COMMAND_LINE_CODES)
    assert set(codes()) == known | set(SAFE_MODE_REASONS)


def test_every_reason_of_safe_mode_has_words_and_a_page() -> None:
    for reason in SAFE_MODE_REASONS:
        assert f"safe_mode:{reason}" in REASONS
        assert call("explain-error", f"safe_mode:{reason}").out == page(reason).text
    assert call("explain-error", "safe_mode:whatever a gateway says").out == page("gateway").text


def test_a_terminal_shows_no_marks_of_markdown() -> None:
    for code in codes():
        shown = drawn(page(code))
        assert "`" not in shown
        assert "#" not in shown
        assert "**" not in shown
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'dagmanager.cli', 'explain-error', 'expired']))"
    out = call_script(script, env={"TERM": "xterm", "NO_COLOR": ""}).out
    assert "\x1b[1mexpired\x1b[0m" in out
    assert "##" not in out


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


FILES = ["a.json", "b.yml", "folder"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        *(
            (["dagmanager", *option.split(), "''"], FILES)
            for option in (
                "diff",
                "diff --file",
                "diff --baseline",
                "diff new.json --store",
                "run --submissions",
                "run --heartbeat",
                "run --store",
                "config validate",
                "export-schema --out",
                "topics history --from",
                "neo4j-init --password-file",
                "init --config",
            )
        ),
        (["dagmanager", "run", "--results", "''"], ["folder"]),
        (["dagmanager", "run", "--recovery", "f"], ["folder"]),
        (["dagmanager", "run", "--workers", "''"], []),
        (["dagmanager", "config", "sample", "--profile", "p"], ["prod"]),
        (["dagmanager", "diff", "--wi"], ["--wide"]),
        (["dagmanager", "di"], ["diff"]),
        (["qmtl", "service", "dagmanager", "node"], ["node-id"]),
        (["dagmanager", "diff", "--base"], ["--baseline"]),
        (["dagmanager", "explain-error", "expi"], ["expired"]),
        (["dagmanager", "diff", "--domain", "l"], ["live"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str], tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).touch()
    script = call("completion", "bash").out
    script += f"\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
    script += '_qmtl_dagmanager; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert sorted(done.stdout.split()) == expected
