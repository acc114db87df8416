"""The one table of `diff`, `run`, `topics history`, the demo and `make live`: it fits the terminal.

A table that is too wide shortens the cells of the columns that allow it, in their middle; a word is never
cut at the edge. Nothing here is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TextIO

from dagmanager.terminal.text import display_width, painted, shortened, visible

GAP: Final = "  "
# The terminal's colours, by the action that a row begins with: green, dim, yellow, magenta, red.
STYLES: Final = {"create": "32", "reuse": "2", "buffer": "33", "isolate": "35", "remove": "31"}


class Heading(NamedTuple):
    """A column's name, and the width to which its cells may be shortened; 0: never."""

    name: str
    shortest: int = 0


class Table(NamedTuple):
    """Lines without a trailing blank, the heads first. `is_shortened`: a cell lost its middle."""

    lines: tuple[str, ...]
    is_shortened: bool

    def styled(self, rows: Sequence[Sequence[str]], stream: TextIO) -> Iterator[str]:
        """The lines with colours where `stream` wants them: the first cell of a row names its style."""
        yield painted(self.lines[0], "1", stream)
        for row, line in zip(rows, self.lines[1:], strict=True):
            yield painted(line, STYLES.get(row[0], ""), stream)


def table(headings: Sequence[Heading], rows: Sequence[Sequence[str]], width: int | None) -> Table:
    """Aligned columns in `width` terminal columns; None: as wide as the cells are."""
    shown = [[visible(cell) for cell in row] for row in rows]
    cells = [[heading.name for heading in headings], *shown]
    widths = [max(display_width(row[at]) for row in cells) for at in range(len(headings))]
    fitted = widths if width is None else _fitted(headings, widths, width)
    lines = []
    for row in cells:
        fields = (_padded(shortened(cell, fit), fit) for cell, fit in zip(row, fitted, strict=True))
        lines.append(GAP.join(fields).rstrip())
    return Table(tuple(lines), fitted != widths)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; cells are Markdown already."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _fitted(headings: Sequence[Heading], widths: list[int], width: int) -> list[int]:
    """The widest column that may lose something loses it first, down to its shortest width."""
    fitted = list(widths)
    over = sum(fitted) + len(GAP) * (len(fitted) - 1) - width
    while over > 0:
        free = [at for at, each in enumerate(headings) if each.shortest and fitted[at] > each.shortest]
        if not free:
            break
        at = max(free, key=lambda each: fitted[each])
        fitted[at] -= 1
        over -= 1
    return fitted


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))
