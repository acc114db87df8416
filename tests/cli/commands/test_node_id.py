"""`node-id --dag`: a DAG that was edited by hand gets its ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import call

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "MultiIndicatorStrategy.json"


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """One parameter of the node that all others read is changed by hand."""
    path = tmp_path / "dag.json"
    path.write_text(EXAMPLE.read_text().replace('"period": 50', '"period": 99'))
    assert call("diff", "dag.json", cwd=tmp_path).code == 1
    return path


def test_written_ids_are_accepted_and_nothing_else_of_the_file_changes(edited: Path) -> None:
    before = edited.read_text()
    done = call("node-id", "--dag", "dag.json", "--write", cwd=edited.parent)
    assert (done.code, done.out, done.err) == (0, "", "4 ids changed, of 4 nodes\n")
    assert call("diff", "dag.json", cwd=edited.parent).code == 0
    lines = zip(before.splitlines(), edited.read_text().splitlines(), strict=True)
    assert all("blake3:" in old for old, new in lines if old != new)


def test_without_write_the_dag_is_printed_and_the_file_stays(edited: Path) -> None:
    before = edited.read_text()
    done = call("node-id", "--dag", "dag.json", cwd=edited.parent)
    assert done.code == 0
    assert len(json.loads(done.out)["nodes"]) == 4
    assert edited.read_text() == before


def test_the_dag_of_a_submission_gets_its_ids(edited: Path) -> None:
    submission = {"strategy_id": "s", "dag": json.loads(edited.read_text())}
    edited.write_text(json.dumps(submission))
    assert call("node-id", "--dag", "dag.json", "--write", cwd=edited.parent).code == 0
    assert call("diff", "dag.json", cwd=edited.parent).code == 0


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[1]", 1, "a DAG is due"),
        ('{"nodes": 3}', 1, "a DAG is due"),
        ('{"nodes": [],}', 1, "trailing comma"),
        ('{"nodes": [{"node_type": "N", "interval": "soon"}]}', 1, "dag.json:1:43  /nodes/0/interval"),
    ],
)
def test_an_invalid_dag_is_refused_with_its_place(text: str, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "dag.json").write_text(text)
    done = call("node-id", "--dag", "dag.json", "--write", cwd=tmp_path)
    assert done.code == code
    assert words in done.err
    assert (tmp_path / "dag.json").read_text() == text


@pytest.mark.parametrize(
    "arguments", [("--write",), ("--dag", "x.json", "--json"), ("--dag", "-", "--write")]
)
def test_options_that_do_not_go_together_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = call("node-id", *arguments)
    assert done.code == 2
    assert "usage" in done.err + done.out


def test_a_dag_in_place_of_lines_is_one_error_that_says_what_to_do() -> None:
    done = call("node-id", stdin=EXAMPLE.read_bytes())
    assert (done.code, done.out) == (1, "")
    assert done.err.count("error[") == 1
    assert "jq -c '.nodes[]' dag.json" in done.err
