from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.terminal.table import Heading, table
from dagmanager.terminal.text import display_width, shortened

HEADS = (Heading("action"), Heading("name", 8), Heading("reason"), Heading("topic", 10))
ROWS = [
    ("create", "stream_input", "new_node", "w1.live.binance_btc_StreamInput_1e2feb89_v1"),
    ("reuse", "가격", "same_spec", ""),
]
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)


def test_cells_are_aligned_and_nothing_trails() -> None:
    lines = table(HEADS, ROWS, None).lines
    assert lines == (
        "action  name          reason     topic",
        "create  stream_input  new_node   w1.live.binance_btc_StreamInput_1e2feb89_v1",
        "reuse   가격          same_spec",
    )


def test_what_is_too_wide_loses_the_middle_of_its_longest_cells_only() -> None:
    found = table(HEADS, ROWS, 60)
    assert found.is_shortened
    assert max(map(display_width, found.lines)) <= 60
    assert found.lines[1].startswith("create  stream_input  new_node   w1.live.")
    assert found.lines[1].endswith("_v1")
    assert not table(HEADS, ROWS, 80).is_shortened


def test_a_reason_stays_whole_however_narrow_the_terminal() -> None:
    assert all(each in "\n".join(table(HEADS, ROWS, 10).lines) for each in ("new_node", "same_spec"))


@given(st.lists(st.tuples(words, words, words, words), min_size=1, max_size=4), st.integers(60, 120))
def test_any_text_fits_and_cannot_steer_the_terminal(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    lines = table(tuple(Heading(each.name, 8) for each in HEADS), rows, width).lines
    assert len(lines) == len(rows) + 1
    assert all(display_width(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


@given(words.filter(str.isprintable), st.integers(2, 30))
def test_shortening_keeps_the_width(text: str, width: int) -> None:
    assert display_width(shortened(text, width)) <= width
    assert shortened(text, display_width(text)) == text


def test_a_pipe_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = table(HEADS, ROWS, None)
    assert tuple(found.styled(ROWS, io.StringIO())) == found.lines
