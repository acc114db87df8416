"""Writing for people and pipes: what may hold escapes, what may not, how wide text is.

May not live here: what any command says.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

# The terminal's colours, by the action that a row begins with: green, yellow, magenta, red, dim.
STYLES: Final = {"create": "32", "buffer": "33", "isolate": "35", "remove": "31", "reuse": "2"}


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
    return (
        len(text)
        if text.isascii()
        else sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    )


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


def table_width(columns: Iterable[Sequence[str]]) -> int:
    """How many columns of a terminal `plain_table` takes for these, heads included."""
    widths = [max(wide(visible(cell)) for cell in column) for column in columns]
    return sum(widths) + 2 * (len(widths) - 1)


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
    """A table on stdout, coloured for a terminal; the first cell of a row names its style."""
    head, *lines = plain_table(heads, rows).split("\n")
    if not is_decorated(sys.stdout):
        print("\n".join([head, *lines]))
        return
    print(f"\x1b[1m{head}\x1b[0m")
    for row, line in zip(rows, lines, strict=True):
        print(f"\x1b[{STYLES.get(row[0], '0')}m{line}\x1b[0m")
