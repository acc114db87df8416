"""The one table of `diff`, `run`, `topics history`, the demo and `make live`: it fits the terminal.

In a table that is too wide, long cells of the columns that allow it continue on further lines, in their column. Nothing is
cut, and nothing here is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple, TextIO

from dagmanager.terminal.text import display_width, painted, visible

GAP: Final = "  "
SEPARATORS: Final = "_.-:/# "  # of the words of names and topics
# The terminal's colours, by the action that a row begins with: green, dim, yellow, magenta, red.
STYLES: Final = {"create": "32", "reuse": "2", "buffer": "33", "isolate": "35", "remove": "31"}


class Heading(NamedTuple):
    """A column's name, and the width to which it may be narrowed; 0: never."""

    name: str
    narrowest: int = 0


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


def table(headings: Sequence[Heading], rows: Sequence[Sequence[str]], width: int | None) -> Table:
    """Aligned columns in `width` terminal columns; None: as wide as the cells are."""
    shown = [[visible(cell) for cell in row] for row in rows]
    cells = [[heading.name for heading in headings], *shown]
    widths = [max(display_width(row[at]) for row in cells) for at in range(len(headings))]
    fitted = widths if width is None else _fitted(headings, widths, width)
    return Table(tuple(_lines(row, fitted) for row in cells))


def _lines(row: Sequence[str], fitted: Sequence[int]) -> tuple[str, ...]:
    """The row in columns of these widths, on as many lines as its longest cell needs."""
    parts = [_broken(cell, fit) for cell, fit in zip(row, fitted, strict=True)]
    fields = zip_longest(*parts, fillvalue="")
    return tuple(
        GAP.join(_padded(part, fit) for part, fit in zip(line, fitted, strict=True)).rstrip()
        for line in fields
    )


def _broken(cell: str, width: int) -> list[str]:
    """The cell in parts of at most `width` columns, which end after a separator where there is one."""
    parts = []
    while display_width(cell) > width:
        most = 1
        while most < len(cell) and display_width(cell[: most + 1]) <= width:
            most += 1
        after = max(cell.rfind(each, 0, most) for each in SEPARATORS) + 1
        parts.append(cell[: after or most])
        cell = cell[after or most :]
    return [*parts, cell]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; cells are Markdown already."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _fitted(headings: Sequence[Heading], widths: list[int], width: int) -> list[int]:
    """The widest column that may lose something loses it first, down to its narrowest width."""
    fitted = list(widths)
    over = sum(fitted) + len(GAP) * (len(fitted) - 1) - width
    while over > 0:
        free = [at for at, each in enumerate(headings) if each.narrowest and fitted[at] > each.narrowest]
        if not free:
            break
        at = max(free, key=lambda each: fitted[each])
        fitted[at] -= 1
        over -= 1
    return fitted


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))
