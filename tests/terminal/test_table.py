from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagmanager.terminal.table import Heading, layout, table
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


def test_a_cell_that_is_too_long_continues_on_the_next_line_after_a_whole_word() -> None:
    assert table(HEADS, ROWS, 60).lines == (
        "action  name          reason     topic",
        "create  stream_input  new_node   w1.live.binance_btc_",
        "                                 StreamInput_1e2feb89_v1",
        "reuse   가격          same_spec",
    )


def test_a_word_that_is_longer_than_its_column_continues_on_the_next_line() -> None:
    assert table((Heading("n", 4), Heading("topic")), [("abcdefghij", "t")], 11).lines == (
        "n     topic",
        "abcd  t",
        "efgh",
        "ij",
    )


def test_a_type_name_that_is_longer_than_its_column_continues_before_a_capital() -> None:
    rows = [("t_TradeSignalGeneratorNode_v1",)]
    assert table((Heading("topic", 8),), rows, 16).lines[1:] == ("t_", "TradeSignal", "GeneratorNode_v1")


def test_a_late_column_is_narrowed_only_after_the_others() -> None:
    heads = (Heading("name", 4), Heading("reason", 4, late=True))
    row = ("aaaa_bbbb", "safe_mode:missing")
    assert table(heads, [row], 23).lines[1:] == ("aaaa  safe_mode:missing", "_", "bbbb")
    assert table(heads, [row], 15).lines[1:] == ("aaaa  safe_", "_     mode:", "bbbb  missing")


def test_rows_that_come_one_after_the_other_share_their_columns() -> None:
    columns = layout((Heading("name", 4), Heading("ms", right=True)), (9, 5), 11, gap=" ")
    assert columns.head == ("name     ms",)
    assert columns.lines(("mean_", "7")) == ("mean_     7",)
    assert columns.lines(("mean_price", "1200")) == ("mean_  1200", "price")


def test_a_reason_stays_whole_however_narrow_the_terminal() -> None:
    assert all(each in "\n".join(table(HEADS, ROWS, 10).lines) for each in ("new_node", "same_spec"))


@given(st.lists(st.tuples(words, words, words, words), min_size=1, max_size=4), st.integers(60, 120))
def test_any_text_fits_and_cannot_steer_the_terminal(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    lines = table(tuple(Heading(each.name, 8) for each in HEADS), rows, width).lines
    assert len(lines) >= len(rows) + 1
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
