"""Writing for people and pipes: what may hold escapes, what may not, how wide text is.

May not live here: what any command says. rich is imported only to show a table to a terminal.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

STYLES: Final = {"create": "green", "buffer": "yellow", "isolate": "magenta", "remove": "red", "reuse": "dim"}


def visible(text: str) -> str:
    """The text with control characters spelled out: what others named must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        " " if char == "\t" else char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def wide(text: str) -> int:
    """How many columns a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def is_decorated(stream: TextIO) -> bool:
    """Whether colour and boxes are wanted there."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


def write_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def note(text: str) -> None:
    """Something beside the result: stderr."""
    print(text, file=sys.stderr)


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart, never wrapped or cut: for pipes."""
    shown = [[visible(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(wide(row[column]) for row in shown) for column in range(len(heads))]
    lines = []
    for row in shown:
        cells = (cell + " " * (width - wide(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; cells are Markdown already."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """The text as such, whatever it holds."""
    safe = visible(text)
    for mark in ("\\", "|", "`", "*", "_", "<", "[", "]"):
        safe = safe.replace(mark, "\\" + mark)
    return safe


def markdown_code(text: str) -> str:
    """The text as code, so that names stay searchable as they are; nothing when empty."""
    safe = visible(text).replace("`", "'").replace("|", "\\|")
    return f"`{safe}`" if safe else ""


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn for a terminal, aligned text elsewhere. The first cell names the style."""
    if not is_decorated(sys.stdout):
        print(plain_table(heads, rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row), style=STYLES.get(row[0], ""))
    Console().print(table)
