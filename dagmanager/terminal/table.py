"""The one table of `diff`, `topics history`, the demo and `make live`: it fits the terminal.

In a table that is too wide, long cells of the columns that allow it continue on further lines, in their column. Nothing is
cut, and nothing here is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple, TextIO

from dagmanager.terminal.text import display_width, painted, visible

GAP: Final = "  "
# Where a word of a name or a topic ends: behind a separator; in a longer word, before a capital (`Signal|Generator`).
SEPARATORS: Final = "_.-:/# "
CAPITAL: Final = re.compile("(?<=[a-z])(?=[A-Z])")
# The terminal's colours, by the action that a row begins with: green, dim, yellow, magenta, red.
STYLES: Final = {"create": "32", "reuse": "2", "buffer": "33", "isolate": "35", "remove": "31"}


class Heading(NamedTuple):
    """A column's name, and the width to which it may be narrowed; 0: never.

    `late`: narrowed only after all others. `right`: its cells are numbers, aligned at the right.
    """

    name: str
    narrowest: int = 0
    late: bool = False
    right: bool = False


class Layout(NamedTuple):
    """Columns with their widths, for rows that come one after the other."""

    headings: tuple[Heading, ...]
    widths: tuple[int, ...]
    gap: str = GAP

    def lines(self, row: Sequence[str]) -> tuple[str, ...]:
        """The row on as many lines as its longest cell needs, without trailing blanks; control characters are escaped."""
        parts = [_broken(visible(cell), fit) for cell, fit in zip(row, self.widths, strict=True)]
        fields = zip_longest(*parts, fillvalue="")
        return tuple(
            self.gap.join(map(_padded, line, self.widths, self.headings)).rstrip() for line in fields
        )

    @property
    def head(self) -> tuple[str, ...]:
        """The lines of the columns' names."""
        return self.lines([each.name for each in self.headings])


class Table(NamedTuple):
    """The lines of the heads and of each row, without a trailing blank."""

    rows: tuple[tuple[str, ...], ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, the heads first."""
        return tuple(line for row in self.rows for line in row)

    def styled(self, cells: Sequence[Sequence[str]], stream: TextIO) -> Iterator[str]:
        """The lines with colours where `stream` wants them: the first cell of a row names its style."""
        styles = ["1", *(STYLES.get(row[0], "") for row in cells)]
        for style, row in zip(styles, self.rows, strict=True):
            yield from (painted(line, style, stream) for line in row)


def layout(headings: Sequence[Heading], widths: Sequence[int], width: int | None, gap: str = GAP) -> Layout:
    """Columns of at most these widths, fitted into `width` terminal columns; None: not fitted."""
    fitted = list(widths) if width is None else _fitted(headings, widths, width, len(gap))
    return Layout(tuple(headings), tuple(fitted), gap)


def table(headings: Sequence[Heading], rows: Sequence[Sequence[str]], width: int | None) -> Table:
    """Aligned columns in `width` terminal columns; None: as wide as the cells are."""
    cells = [[each.name for each in headings], *([visible(cell) for cell in row] for row in rows)]
    widths = [max(display_width(row[at]) for row in cells) for at in range(len(headings))]
    found = layout(headings, widths, width)
    return Table(tuple(map(found.lines, cells)))


def _broken(cell: str, width: int) -> list[str]:
    """The cell in parts of at most `width` columns, which end where a word ends, if one does in that width."""
    parts = []
    while display_width(cell) > width:
        most = 1
        while most < len(cell) and display_width(cell[: most + 1]) <= width:
            most += 1
        separated = max(cell.rfind(each, 0, most) for each in SEPARATORS) + 1
        capitals = [each.start() for each in CAPITAL.finditer(cell, 0, most + 1)]
        end = separated or next(reversed(capitals), most)
        parts.append(cell[:end])
        cell = cell[end:]
    return [*parts, cell]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; cells are Markdown already."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _fitted(headings: Sequence[Heading], widths: Sequence[int], width: int, gap: int) -> list[int]:
    """The widest column that may lose something loses it first, down to its narrowest width; `late` ones come last."""
    fitted = list(widths)
    over = sum(fitted) + gap * (len(fitted) - 1) - width
    while over > 0:
        free = [at for at, each in enumerate(headings) if each.narrowest and fitted[at] > each.narrowest]
        if not free:
            break
        at = max(free, key=lambda each: (not headings[each].late, fitted[each]))
        fitted[at] -= 1
        over -= 1
    return fitted


def _padded(cell: str, width: int, heading: Heading) -> str:
    blanks = " " * (width - display_width(cell))
    return blanks + cell if heading.right else cell + blanks
