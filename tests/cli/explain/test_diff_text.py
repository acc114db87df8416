from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from dagmanager.cli.explain.diff_text import Detail, cost_line, differs, markdown, show
from dagmanager.terminal.text import display_width

FOUND: dict[str, Any] = {
    "context": {"world_id": "w1", "execution_domain": "live", "assumed": ["execution_domain"]},
    "plan_digest": "blake3:" + "d" * 64,
    "submission_digest": "e" * 64,
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
    "changed": [],
    "version_change": None,
    "history_periods": 0,
    "queue_map": {},
    "warnings": [{"code": "lineage_unknown", "message": "random id", "node_id": None, "details": []}],
}
LONG = "w1.live.binance_btc_StreamInput_1e2feb89_v1"


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capsys: pytest.CaptureFixture[str], found: dict[str, Any], **detail: bool) -> str:
    show(found, Detail(**detail))
    return capsys.readouterr().out


def many(count: int, action: str = "reuse", reason: str = "same_spec") -> dict[str, Any]:
    nodes = [
        {
            "node_id": f"blake3:{number:064}",
            "name": f"node_{number}",
            "action": action,
            "reason": reason,
            "topic": f"{number}_{LONG}",
        }
        for number in range(count)
    ]
    return FOUND | {"nodes": [FOUND["nodes"][0], *nodes]}


def test_people_read_every_fact_and_the_summary_last(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, FOUND, explain=True)
    assert out.splitlines()[0] == "context: world w1, domain live (default)"
    assert out.splitlines()[-1] == "1 create, 1 reuse, 1 removed, version v2"
    assert "action  name" in out
    assert [line.split() for line in out.splitlines() if line.startswith(("create", "reuse", "remove "))] == [
        ["create", "pri|ce", "new_node", "t_a"],
        ["reuse", "x\\x1b[2J", "same_spec", "t_b"],
        ["remove", "old", "removed"],
    ]
    assert "\x1b" not in out
    assert "new_node: no such computation" in out
    assert "warning[lineage_unknown]: random id" in out
    assert "help: Set `meta.strategy_name`" in out


@pytest.mark.parametrize(
    ("actions", "periods", "line"),
    [
        ({"create": 1, "reuse": 1}, 0, "cost: 1 new topic; 1 node unchanged"),
        ({"create": 2, "buffer": 2}, 60, "cost: 2 new topics; 60 periods of history to read again"),
        ({"isolate": 3}, 0, "cost: 0 new topics; 3 isolated topics, kept for a day"),
        ({"reuse": 5}, 0, "cost: 0 new topics; 5 nodes unchanged"),
    ],
)
def test_the_cost_of_a_run_is_named(actions: dict[str, int], periods: int, line: str) -> None:
    assert cost_line(FOUND | {"actions": actions, "history_periods": periods}) == line


def test_digests_are_shown_only_when_requested(capsys: pytest.CaptureFixture[str]) -> None:
    assert not re.search("[0-9a-f]{32}", shown(capsys, FOUND, explain=True))
    wide = shown(capsys, FOUND, wide=True)
    for node in (*FOUND["nodes"], *FOUND["removed"]):
        assert node["node_id"] in wide
    assert FOUND["plan_digest"] in wide
    assert FOUND["submission_digest"] in wide


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_narrow_terminal_continues_topics_on_the_next_line_and_cuts_nothing(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = shown(capsys, many(3, "isolate", "safe_mode:missing_as_of"), explain=True)
    assert max(map(display_width, out.splitlines())) <= columns
    assert out.count("safe_mode:missing_as_of") == 4
    joined = re.sub(r"\n {20,}", "", out)
    assert [joined.count(f"{number}_{LONG}") for number in range(3)] == [1, 1, 1]
    assert "…" not in out
    assert not any(line != line.rstrip() for line in out.splitlines())


def test_unchanged_rows_are_folded(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, many(990))
    assert "  990 nodes reuse (same_spec); --all shows them" in out
    assert len(out.splitlines()) < 15
    assert shown(capsys, many(990), all_rows=True).count("same_spec") == 990
    assert "folded" not in shown(capsys, many(5))
    assert shown(capsys, many(5)).count("same_spec") == 5


def test_warnings_of_one_kind_name_their_nodes_below_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = many(8)
    found["warnings"] = [
        {"code": "unresolved_dependencies", "message": "no parent", "node_id": node["node_id"],
         "details": ["blake3:" + "f" * 64]}
        for node in found["nodes"][1:]
    ]  # fmt: skip
    out = shown(capsys, found)
    assert out.count("warning[unresolved_dependencies]: no parent") == 1
    assert "  node_0: blake3:ffffffff…" in out
    assert "… and 3 more; --all shows them" in out
    assert shown(capsys, found, all_rows=True).count("blake3:ffffffff…") == 8


def test_markdown_holds_every_id_and_cannot_be_broken() -> None:
    text = markdown(many(990), explain=False)
    assert text.count("same\\_spec") == 990
    text = markdown(FOUND, explain=False)
    for node in (*FOUND["nodes"], *FOUND["removed"]):
        assert f"`{node['node_id']}`" in text
    assert FOUND["plan_digest"] in text
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
