"""Text for people and pipes: safe to print, measured in columns, wrapped at words.

May not live here: what any command says.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Any, Final, TextIO

COLUMNS_DEFAULT: Final = 80


def visible(text: str) -> str:
    """The text with control characters escaped: a name in the input must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(
        " " if char == "\t" else char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def display_width(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def columns() -> int:
    """Width to write for: COLUMNS, else the terminal's, else 80."""
    return max(20, shutil.get_terminal_size((COLUMNS_DEFAULT, 24)).columns)


def columns_of(stream: TextIO) -> int | None:
    """Where to wrap an error: a pipe gets whole lines, so that a log can be searched, unless COLUMNS is set."""
    return columns() if os.environ.get("COLUMNS") or stream.isatty() else None


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """The text in lines of `width` columns, broken between words only; `indent` begins the 2nd line and on."""
    if width is None or display_width(text) <= width:
        return text
    first = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        text.lstrip(),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(text: str, width: int) -> str:
    """The text in `width` columns: what is too long loses its middle, because versions differ at the end."""
    if display_width(text) <= width:
        return text
    tail = min((width - 1) * 2 // 5, width - 1)
    head = width - 1 - tail
    while head and display_width(text[:head]) + 1 + display_width(text[len(text) - tail :]) > width:
        head, tail = head - 1, max(0, tail - 1)
    return f"{text[:head]}…{text[len(text) - tail :] if tail else ''}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 topic`, `2 topics`, `1,000 topics`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def is_decorated(stream: TextIO) -> bool:
    """Whether colour is wanted there."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


def painted(text: str, style: str, stream: TextIO) -> str:
    """The text in a style of the terminal (`1` bold, `31` red, …); as it is where no colour is wanted."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and is_decorated(stream) else text


def write_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def note(text: str) -> None:
    """A line beside the result, on stderr; wrapped on a terminal."""
    sys.stderr.write(wrapped(text, columns_of(sys.stderr), "  ") + "\n")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def markdown_text(text: str) -> str:
    """The text with every mark of Markdown escaped."""
    safe = visible(text)
    for mark in ("\\", "|", "`", "*", "_", "<", "[", "]"):
        safe = safe.replace(mark, "\\" + mark)
    return safe


def markdown_code(text: str) -> str:
    """The text as code, so that names stay searchable as they are; nothing when empty."""
    safe = visible(text).replace("`", "'").replace("|", "\\|")
    return f"`{safe}`" if safe else ""
