from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import pytest

from dagmanager.cli.commands import diff
from dagmanager.cli.explain.diff_request import InputFile
from dagmanager.cli.explain.diff_text import differs, fitted, markdown, rows, show
from dagmanager.cli.framework.arguments import Parser
from dagmanager.errors import ErrorCode, Rejection
from dagmanager.terminal.report import CommandError, Exit
from dagmanager.terminal.text import plain_table

FOUND: dict[str, Any] = {
    "context": {"world_id": "w1", "execution_domain": "live", "assumed": ["execution_domain"]},
    "plan_digest": "p1",
    "submission_digest": "s1",
    "version": "v2",
    "safe_mode": None,
    "actions": {"create": 1, "reuse": 1, "buffer": 0, "isolate": 0},
    "nodes": [
        {
            "node_id": "blake3:" + "a" * 64,
            "name": "pri|ce",
            "action": "create",
            "reason": "new_node",
            "topic": "t_a",
        },
        {
            "node_id": "blake3:" + "b" * 64,
            "name": "x\x1b[2J",
            "action": "reuse",
            "reason": "same_spec",
            "topic": "t_b",
        },
    ],
    "removed": [{"node_id": "blake3:" + "c" * 64, "name": "old"}],
    "queue_map": {},
    "warnings": [{"code": "lineage_unknown", "message": "random id", "node_id": None, "details": []}],
}


def test_people_read_every_fact(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show(FOUND, explain=True)
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "context: world w1, domain live (assumed: nothing says more)"
    assert "1 create, 1 reuse, 0 buffer, 0 isolate, 1 removed" in out
    assert "\x1b" not in out
    for node in (*FOUND["nodes"], *FOUND["removed"]):
        assert node["node_id"] in out
    assert "new_node: no such computation" in out
    assert "warning[lineage_unknown]" in out


@pytest.mark.parametrize(
    ("width", "heads", "left_out"),
    [
        (None, ("action", "name", "node", "topic", "reason"), []),
        (200, ("action", "name", "node", "topic", "reason"), []),
        (60, ("action", "name", "node", "topic", "reason"), ["ids are cut"]),
        (48, ("action", "name", "node", "topic"), ["ids are cut", "reason is left out"]),
        (36, ("action", "node", "topic"), ["ids are cut", "reason is left out", "name is left out"]),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_whole_names(
    width: int | None, heads: tuple[str, ...], left_out: list[str]
) -> None:
    table = rows(FOUND)
    shown = fitted(table, width)
    assert (shown[0], shown[2]) == (heads, left_out)
    assert len(shown[1]) == len(table)
    if width is not None:
        assert max(map(len, plain_table(heads, shown[1]).splitlines())) <= width
    assert [row[heads.index("topic")] for row in shown[1]] == ["t_a", "t_b", ""]
    if left_out:
        assert [row[heads.index("node")] for row in shown[1]] == [f"blake3:{8 * x}…" for x in "abc"]


def test_a_topic_is_never_broken_however_narrow_the_terminal() -> None:
    topic = "w1.live.btc_StreamInput_1e2feb89_v1"
    found = FOUND | {"nodes": [{**FOUND["nodes"][0], "topic": topic}]}
    assert topic in plain_table(*fitted(rows(found), 20)[:2])


def test_markdown_holds_the_same_and_cannot_be_broken() -> None:
    text = markdown(FOUND, explain=False)
    for node in (*FOUND["nodes"], *FOUND["removed"]):
        assert f"`{node['node_id']}`" in text
    assert "`pri\\|ce`" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {6}


@pytest.mark.parametrize(
    ("action", "removed", "expected"),
    [
        ("reuse", [], False),
        ("reuse", ["n"], True),
        ("create", [], True),
        ("buffer", [], True),
        ("isolate", [], True),
    ],
)
def test_differs(action: str, removed: list[str], expected: bool) -> None:
    found = copy.deepcopy(FOUND)
    found["nodes"] = [{**FOUND["nodes"][1], "action": action}]
    found["removed"] = removed
    assert differs(found) is expected


def arguments(path: Path, *words: str) -> argparse.Namespace:
    parser = Parser("dagmanager diff", "")
    diff.add_arguments(parser)
    return parser.parse(["--file", str(path), *words])


def test_exit_code_only_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dag.json"
    path.write_text("{}")
    monkeypatch.delenv("DAGMANAGER_CONFIG", raising=False)
    monkeypatch.setattr(diff, "_decide", lambda request, settings: FOUND)
    assert diff.run(arguments(path)) == Exit.FINE
    assert diff.run(arguments(path, "--markdown")) == Exit.FINE
    assert diff.run(arguments(path, "--exit-code", "--json")) == Exit.DIFFERS


def test_a_refused_baseline_is_named(tmp_path: Path) -> None:
    why = Rejection(ErrorCode.INVALID_JSON, "cut off")
    with pytest.raises(CommandError) as caught:
        raise diff.refused(why, InputFile("old.json", b"{"))
    assert (caught.value.report.file, caught.value.report.exit) == ("old.json", Exit.REFUSED)
