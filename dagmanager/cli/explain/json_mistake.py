"""The usual mistakes of a JSON file, each with its own name and its own help."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_BOM: Final = b"\xef\xbb\xbf"
_PYTHON: Final = re.compile(r"(None|True|False)\b")
_PYTHON_WORDS: Final = {"None": "null", "True": "true", "False": "false"}

# By a part of the reader's message.
_HELPS: Final = {
    "is not a JSON number": "write a finite number, or null",
    "appears twice": "remove one of the two",
    "nested too deep": "nest less deep, or raise `submission_depth_max`",
    "control character": "write it as an escape: \\n for a line break, \\t for a tab",
    "lone surrogate": "write whole characters: an escape \\ud800 to \\udbff needs its second half",
}


class Mistake(NamedTuple):
    """`message` replaces the reader's own where it is not empty, `offset` (bytes) its place, where known.

    `is_binary`: an excerpt of the file would not be readable.
    """

    help: str
    message: str = ""
    offset: int | None = None
    is_binary: bool = False


def encoding_mistake(raw: bytes) -> Mistake | None:
    """A text that is not plain UTF-8; None when it is."""
    if raw.startswith(_BOM):
        return Mistake(
            "save the file as UTF-8 without a byte order mark",
            "the file starts with a byte order mark",
            0,
            is_binary=True,
        )
    if raw.startswith(_UTF16) or b"\0" in raw[:4]:
        return Mistake(
            "save the file as UTF-8", "the file looks like UTF-16; JSON is UTF-8", 0, is_binary=True
        )
    try:
        raw.decode()
    except UnicodeDecodeError as broken:
        byte = raw[broken.start]
        return Mistake(
            "save the file as UTF-8 (it looks like Latin-1 or another 8-bit encoding)",
            f"byte 0x{byte:02x} is not valid UTF-8",
            broken.start,
        )
    return None


def syntax_mistake(text: str, at: int, reason: str) -> Mistake | None:
    """What a person probably did at this position (characters); None for anything unusual."""
    if not text.strip():
        return Mistake(
            "a submission or a DAG is due: a JSON object with `nodes` or `dag`", "the file is empty"
        )
    rest, before = text[at:], text[:at].rstrip()
    if rest.startswith(("//", "/*", "#")):
        return Mistake("remove the comment", "JSON has no comments")
    if rest.startswith("'"):
        return Mistake("use double quotes", "JSON text is written in double quotes")
    if rest[:1] in ("}", "]") and before.endswith(","):
        return Mistake(f"remove the comma before `{rest[0]}`", "trailing comma")
    if word := _PYTHON.match(rest):
        return Mistake(f"write `{_PYTHON_WORDS[word[1]]}`", f"`{word[1]}` is Python, not JSON")
    if not rest.strip() or ("unterminated" in reason and '"' not in rest[1:]):
        return Mistake("write the file again, whole", "the file ends too early")
    if rest.startswith('"') and before[-1:] not in ("", ",", "{", "[", ":"):
        return Mistake("write a comma between two values")
    return next((Mistake(words) for part, words in _HELPS.items() if part in reason), None)
