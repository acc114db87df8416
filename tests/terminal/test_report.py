from __future__ import annotations

import io
from pathlib import Path

import pytest

from dagmanager.errors import (
    ConstraintError,
    InputLostError,
    SettingsError,
    StoreRefusedError,
    UnavailableError,
)
from dagmanager.settings.source import SettingsSource, check
from dagmanager.terminal.report import COMMAND_LINE_CODES, Exit, Report, report_of, show
from dagmanager.terminal.settings_report import finding_report, load_settings
from tests.cli.running import call

REPORT = Report(
    "invalid_field",
    "a value of the wrong type was found where a list of tags was expected by the reader",
    file="dag.json",
    line=12,
    column=130,
    pointer="/nodes/3/tags",
    source="x" * 129 + '"price", "volume"',
    caret=129,
    width=7,
    notes=("node: blake3:1e2feb89…",),
    helps=("write a list of texts",),
)


def test_an_error_has_one_style() -> None:
    assert REPORT._replace(source='  "tags": 3', caret=10, width=1).as_text("dagmanager") == (
        "error[invalid_field]: a value of the wrong type was found where a list of tags was expected by the reader\n"
        "  --> dag.json:12:130  /nodes/3/tags\n"
        '12 |   "tags": 3\n'
        "   |           ^\n"
        "  node: blake3:1e2feb89…\n"
        "  help: write a list of texts\n"
        "  help: `dagmanager explain-error invalid_field` explains this code"
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_lines_that_fit_and_words_that_are_whole(width: int) -> None:
    lines = REPORT.as_text("dagmanager", width).splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines[:3]).startswith(f"error[invalid_field]: {REPORT.message}")
    source, marks = (line for line in lines if line.startswith(("12 |", "   |")))
    assert source[marks.index("^") :].startswith('"price"')


def test_a_pipe_gets_whole_lines_unless_columns_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.delenv("COLUMNS", raising=False)
    show(REPORT, "dagmanager", stream)
    assert stream.getvalue().splitlines()[0] == f"error[invalid_field]: {REPORT.message}"
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    show(REPORT, "dagmanager", stream)
    assert max(map(len, stream.getvalue().splitlines())) <= 60


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (SettingsError("x"), "settings", Exit.USAGE),
        (UnavailableError("x"), "unavailable", Exit.UNREACHABLE),
        (StoreRefusedError("x"), "database", Exit.REFUSED),
        (InputLostError("x"), "input_lost", Exit.REFUSED),
        (FileNotFoundError(2, "No such file", "a.json"), "unreadable_file", Exit.USAGE),
        (ConstraintError("x"), "internal", Exit.INTERNAL),
        (ZeroDivisionError(), "internal", Exit.INTERNAL),
    ],
)
def test_every_exception_has_a_code_and_an_exit_code(error: Exception, code: str, exit_code: Exit) -> None:
    report = report_of(error)
    assert (report.code, report.exit) == (code, exit_code)
    assert code in (*COMMAND_LINE_CODES, "unavailable")


def test_run_reports_settings_as_config_validate_does(tmp_path: Path) -> None:
    """The same code, place, excerpt and suggestion; a value that may be a secret is never shown."""
    path = tmp_path / "dagmanager.yml"
    path.write_text("kafka_dns: geheim\ngrpc_port: many\n")
    checked = call("config", "validate", str(path))
    ran = call("run", "--config", str(path), "--submissions", "none.jsonl")
    assert (checked.code, ran.code) == (2, 2)
    unknown = (
        "error[unknown_field]: unknown field `kafka_dns`\n"
        f"  --> {path}:1:1\n1 | kafka_dns\n  | ^^^^^^^^^\n  help: did you mean `kafka_dsn`?\n"
    )
    assert unknown in checked.out
    assert unknown in ran.err
    for text in (checked.out, ran.err):
        assert "error[wrong_type]: `grpc_port` must be" in text
        assert f"--> {path}:2:1" in text
        assert "geheim" not in text
    assert "empty_field" not in ran.err


def test_a_file_that_is_no_yaml_gives_no_further_findings(tmp_path: Path) -> None:
    path = tmp_path / "dagmanager.yml"
    path.write_text('kafka_dsn: "open\n')
    done = call("config", "validate", str(path))
    assert (done.code, done.out.count("["), "empty_field" in done.out) == (2, 1, False)


def test_warnings_of_settings_do_not_stop_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dagmanager.yml"
    path.write_text("kafka_compression: x\n")
    assert load_settings(str(path), {}).kafka_dsn == ""
    assert capsys.readouterr().err.startswith("warning[unknown_field]: unknown field `kafka_compression`")


@pytest.mark.parametrize(
    ("line", "excerpt"),
    [
        ("grpc_port: many", "grpc_port: many"),
        ("grpc_port: many  # geheim", "grpc_port: many"),
        ("topic_shapes: {raww: {}}", "raww"),  # another field may be before it
        ("neo4j_password: [geheim]", "neo4j_password"),
        ("kafka_options: {sasl.password: [geheim]}", "sasl.password"),
        ("{grpc_port: many, neo4j_pasword: geheim}", "grpc_port"),
        ("{\ngrpc_port: many, neo4j_pasword: geheim}", "grpc_port"),
        ("topic_shapes:\n  raw: {partitions: 0, replication_factor: 1}",
         "  raw: {partitions: 0, replication_factor: 1}"),
    ],
)  # fmt: skip
def test_an_excerpt_is_the_whole_line_without_secrets(line: str, excerpt: str) -> None:
    text = f"{line}\n"
    [finding] = [each for each in check(SettingsSource(text, "s.yml")) if each.code == "wrong_type"]
    report = finding_report(finding, text.splitlines())
    assert (report.source, "geheim" in report.as_text()) == (excerpt, False)
    assert report.source[report.caret :].startswith(excerpt.split(":", maxsplit=1)[0].strip())


@pytest.mark.parametrize(
    "text",
    ["a: [", "grpc_port: 1\ngrpc_port: 2", "grpc_port: x", "a: 1", "neo4j_dsn: x\ndagmanager: {}",
     "neo4j_dsn: ${GONE}", "diffs_topic: a.b\ndead_letters_topic: a_b"],
)  # fmt: skip
def test_each_finding_says_what_to_do(text: str) -> None:
    findings = check(SettingsSource(text, "s.yml"))
    assert findings
    assert all(finding_report(each, text.splitlines()).helps for each in findings)
