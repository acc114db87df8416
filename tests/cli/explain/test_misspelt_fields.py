from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagmanager.cli.explain.misspelt_fields import misspelt_fields
from tests.cli.running import call

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def found(document: Any) -> list[tuple[str, str]]:
    return list(misspelt_fields(json.dumps(document)))


@pytest.mark.parametrize(
    ("document", "pointer", "meant"),
    [
        ({"nodes": [{}, {"parms": {}}]}, "/nodes/1/parms", "params"),
        ({"nodes": [{"perod": 3}]}, "/nodes/0/perod", "period"),
        ({"nodes": [{"tag": ["a"]}]}, "/nodes/0/tag", "tags"),
        ({"node": []}, "/node", "nodes"),
        ({"strategyid": "s", "dag": {"nodes": []}}, "/strategyid", "strategy_id"),
        ({"dag": {"nodes": [{"intervall": 60}]}}, "/dag/nodes/0/intervall", "interval"),
        ({"dag": {"nodes": [], "meta": {"strategy_nam": "x"}}}, "/dag/meta/strategy_nam", "strategy_name"),
    ],
)
def test_a_field_with_nearly_a_known_name_is_found(document: Any, pointer: str, meant: str) -> None:
    assert found(document) == [(pointer, meant)]


@pytest.mark.parametrize(
    "document",
    [
        {"nodes": [{"lag": 5, "config_hash": "c", "owner": "me"}]},
        {"nodes": [{"params": {}, "parms": {}}]},
        {"nodes": [{"params": {"perod": 1}}]},
        {"nodes": "none", "meta": 3},
        {"nodes": [3, None]},
        [1],
    ],
)
def test_other_fields_are_the_client_s_own(document: Any) -> None:
    assert found(document) == []


def test_a_text_that_is_not_json_has_no_fields() -> None:
    assert list(misspelt_fields('{"perod": ')) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda each: each.stem)
def test_what_a_real_sdk_sends_is_not_misspelt(path: Path) -> None:
    assert list(misspelt_fields(path.read_text())) == []


def test_diff_names_an_ignored_field_that_was_probably_misspelt(tmp_path: Path) -> None:
    dag = json.loads((EXAMPLES / "MA1.json").read_text())
    dag["nodes"][0]["tag"] = dag["nodes"][0].pop("tags")
    (tmp_path / "dag.json").write_text(json.dumps(dag))
    done = call("diff", "dag.json", cwd=tmp_path)
    assert done.code == 0
    assert "dag.json /nodes/0/tag: an unknown field, which is ignored; did you mean `tags`?" in done.err


def test_a_refusal_names_the_misspelt_field_that_may_be_its_cause(tmp_path: Path) -> None:
    dag = json.loads((EXAMPLES / "MA1.json").read_text())
    dag["nodes"][0]["intervall"] = dag["nodes"][0].pop("interval")
    (tmp_path / "dag.json").write_text(json.dumps(dag))
    done = call("diff", "dag.json", cwd=tmp_path)
    assert done.code == 1
    assert "error[node_id_mismatch]" in done.err
    assert "help: /nodes/0/intervall is unknown: did you mean `interval`?" in done.err
