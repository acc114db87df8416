"""The pages behind `explain-error`: Markdown files beside this module, one per code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

PAGES: Final = Path(__file__).parent / "error_pages"
_HEADING: Final = "\x1b[1m{}\x1b[0m"
_MARKED: Final = re.compile(r"`([^`\n]+)`")
_CODE: Final = "\x1b[36m\\1\x1b[0m"


class ErrorPage(NamedTuple):
    """One code explained: what it means, why it happens, an example, what to do."""

    code: str
    title: str
    cause: str
    example: str
    remedy: str
    text: str


def codes() -> tuple[str, ...]:
    """Every code that has a page."""
    return tuple(sorted(path.stem for path in PAGES.glob("*.md")))


@cache
def page(code: str) -> ErrorPage:
    """The page of a code; raises KeyError for an unknown code."""
    path = PAGES / f"{code}.md"
    if not path.is_file():
        raise KeyError(code)
    text = path.read_text(encoding="utf-8")
    head, cause, example, fix = text.split("\n## ", 3)
    title = head.split("\n", 1)[1].strip()
    why, shown, steps = (part.split("\n", 1)[1].strip() for part in (cause, example, fix))
    return ErrorPage(code, title, why, shown, steps, text)


def drawn(found: ErrorPage) -> str:
    """A page for a terminal: headings and code by weight and colour instead of Markdown's marks."""
    parts = [_HEADING.format(found.code), found.title]
    example = "\n".join("  " + line for line in found.example.splitlines() if not line.startswith("```"))
    for head, text in (("Cause", found.cause), ("Example", example), ("Remedy", found.remedy)):
        parts += [_HEADING.format(head), text]
    return _MARKED.sub(_CODE, "\n\n".join(parts))


def remedy(code: str) -> str:
    """The first sentence of what to do."""
    return page(code).remedy.split("\n\n", 1)[0].replace("\n", " ")
