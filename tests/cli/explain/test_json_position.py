from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.cli.explain.json_position import find, path_of, place_at, pointer_of
from dagmanager.cli.explain.rejection_report import rejection_report
from dagmanager.errors import ErrorCode, Rejection

TEXT = '{\n  "nodes": [\n    {"node_id": "a", "tags": [1, "세계"]},\n    {"code_hsh": 3}\n  ]\n}\n'
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("field", "line", "column"),
    [
        ("/nodes/0/node_id", 3, 17),
        ("/nodes/0/tags/1", 3, 34),
        ("nodes[1].code_hsh", 4, 18),
        ("/nodes/0/tags", 3, 22),
        ("", 1, 1),
    ],
)
def test_places(field: str, line: int, column: int) -> None:
    span = find(TEXT, path_of(field))
    assert span is not None
    assert span.whole
    assert place_at(TEXT, span.start, span.end)[:2] == (line, column)


@pytest.mark.parametrize("text", ["", "{", '{"nodes": [', "nonsense", "[" * 5000])
def test_text_that_is_no_json_has_no_position(text: str) -> None:
    assert find(text, ("nodes", 0)) is None


@given(values, st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=3))
def test_any_path_into_any_json(value: Any, path: list[str | int]) -> None:
    text = json.dumps(value)
    span = find(text, tuple(path))
    assert span is not None
    assert 0 <= span.start < span.end <= len(text)
    assert path_of(pointer_of(("a", 3, "b/~c"))) == ("a", 3, "b/~c")


def test_a_missing_field_shows_its_owner_and_what_was_meant() -> None:
    why = Rejection(ErrorCode.MISSING_FIELDS, "1 node lacks fields", field="/nodes/1/code_hash", node_id="n")
    shown = rejection_report(why, TEXT.encode(), "dag.json").as_text("dagmanager")
    assert "--> dag.json:4:5  /nodes/1/code_hash" in shown
    assert "did you mean `code_hash` where it says `code_hsh`?" in shown
    assert "help: `dagmanager explain-error missing_fields` explains this code" in shown


def test_a_long_line_is_cut_around_the_place() -> None:
    raw = json.dumps({"pad": "x" * 5000, "nodes": [{"interval": "\x1b[31m"}]}).encode()
    why = Rejection(ErrorCode.INVALID_FIELD, "wrong \x1b[31m", field="/nodes/0/interval")
    shown = rejection_report(why, raw, "dag.json").as_text("dagmanager")
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 140
    marked = next(line for line in shown.splitlines() if set(line.strip(" |")) == {"^"})
    source = shown.splitlines()[shown.splitlines().index(marked) - 1]
    assert source[marked.index("^") :].startswith('"\\u001b')


def test_the_decoder_s_own_place_counts() -> None:
    raw = '{"이름": NaN}'.encode()
    details = ({"offset": 11, "line": 1, "column": 8},)
    found = rejection_report(
        Rejection(ErrorCode.INVALID_JSON, "NaN", field="/이름", details=details), raw, "f"
    )
    assert (found.line, found.column) == (1, 8)
