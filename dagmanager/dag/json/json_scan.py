"""The exact but slow JSON reader: it gives pointer, line and column of the first error.

Only for texts that the fast path of `exact_json` refused or doubts. Stricter than RFC 8259 where docs/semantics.md 2
says so: no repeated keys, no lone surrogates, no number beyond a double, bounded depth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from json import JSONDecodeError, decoder
from typing import Any, Final

import msgspec

from dagmanager.dag.field_errors import escaped_key
from dagmanager.errors import ErrorCode, Rejection

# CPython refuses to convert longer texts to an int. They stay text, which enters a node id just as exactly.
DIGITS_MAX: Final = 4_300

TOO_DEEP: Final = "nested too deep"
BYTE_ORDER_MARK: Final = "a byte order mark (U+FEFF) stands where a JSON value was expected"
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*)"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
# The standard library's reader of one string, in C; type stubs do not have it.
_read_string: Final[Callable[[str, int, bool], tuple[str, int]]] = vars(decoder)["scanstring"]
_NON_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


class HugeInteger(msgspec.Struct, frozen=True):
    """An integer of more than `DIGITS_MAX` characters, kept as its JSON text (which is canonical)."""

    digits: str


class JsonProblem(msgspec.Struct, frozen=True):
    """Why a text is not JSON that we accept. `offset` in bytes from 0; `line` and `column` from 1.

    An `offset` of -1 means that the position is unknown: the text was too long to look for it.
    """

    reason: str
    pointer: str
    offset: int
    line: int
    column: int

    def rejection(self, what: str = "") -> Rejection:
        """As `invalid_json`; `what` names the text when it is not the record itself (`dag_json`)."""
        if self.offset < 0:
            inside = f" in {what}" if what else ""
            return Rejection(ErrorCode.INVALID_JSON, f"{self.reason}{inside}", field=self.pointer)
        place = f"line {self.line}, column {self.column} (byte {self.offset})"
        inside = f" of {what}" if what else ""
        return Rejection(
            ErrorCode.INVALID_JSON,
            f"{self.reason}, at {place}{inside}",
            field=self.pointer,
            details=({"offset": self.offset, "line": self.line, "column": self.column},),
        )

    def within(self, whole: bytes, piece: bytes, pointer: str) -> JsonProblem:
        """The same problem with a position in `whole`, which contains `piece` at `pointer`."""
        start = whole.find(piece)
        if self.offset < 0 or start < 0:
            return JsonProblem(self.reason, pointer + self.pointer, -1, 0, 0)
        before = whole[:start]
        column = self.column
        if self.line == 1:
            column += len(before[before.rfind(b"\n") + 1 :].decode(errors="replace"))
        line = before.count(b"\n") + self.line
        return JsonProblem(self.reason, pointer + self.pointer, start + self.offset, line, column)


class _ScanError(Exception):
    def __init__(self, reason: str, at: int) -> None:
        self.reason = reason
        self.at = at


def scan(data: bytes, depth_max: int) -> Any:
    """The value of one JSON text, or a `JsonProblem`.

    Integers of any size are exact (`HugeInteger` beyond CPython's own limit).
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as broken:
        head = data[: broken.start].decode()  # valid up to there
        return _problem("invalid UTF-8", "", head, len(head))
    scanner = _Scanner(text, depth_max)
    try:
        return scanner.document()
    except _ScanError as stop:
        return _problem(stop.reason, scanner.pointer(), text, stop.at)


def problem_at(reason: str, data: bytes, offset: int) -> JsonProblem:
    """A problem at a byte offset of `data`, without a pointer."""
    head = data[: max(0, min(offset, len(data)))].decode(errors="replace")
    return _problem(reason, "", head, len(head))


def _problem(reason: str, pointer: str, text: str, at: int) -> JsonProblem:
    head = text[:at]
    line = head.count("\n") + 1
    return JsonProblem(reason, pointer, len(head.encode()), line, at - (head.rfind("\n") + 1) + 1)


class _Scanner:
    """Recursive descent over decoded text; `path` has the keys and positions down to the current value.

    Each method takes the offset in characters where to read and returns the value and the offset after it. A
    `_ScanError` leaves `path` at the error.
    """

    def __init__(self, text: str, depth_max: int) -> None:
        self.text = text
        self.depth_max = depth_max
        self.path: list[str] = []

    def pointer(self) -> str:
        return "".join("/" + escaped_key(part) for part in self.path)

    def document(self) -> Any:
        value, at = self.value(self.skip(0), 1)
        at = self.skip(at)
        if at < len(self.text):
            raise _ScanError("something follows the end of the JSON value", at)
        return value

    def skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        first = self.text[at : at + 1]
        if first == '"':
            return self.string(at)
        if first in ("{", "["):
            if depth > self.depth_max:
                raise _ScanError(TOO_DEEP, at)
            return self.object(at, depth) if first == "{" else self.list(at, depth)
        for word in _NON_NUMBERS:
            if self.text.startswith(word, at):
                raise _ScanError(f"{word} is not a JSON number", at)
        if first in _WORDS:
            word, meaning = _WORDS[first]
            if self.text.startswith(word, at):
                return meaning, at + len(word)
        return self.number(at)

    def number(self, at: int) -> tuple[Any, int]:
        match = _NUMBER.match(self.text, at)
        if not match:
            if self.text.startswith("\ufeff", at):
                raise _ScanError(BYTE_ORDER_MARK, at)
            raise _ScanError(
                "the text ends too early" if at >= len(self.text) else "a value was expected", at
            )
        token = match.group()
        if match.group(1) is None and match.group(2) is None:
            return (HugeInteger(token) if len(token) > DIGITS_MAX else int(token)), match.end()
        number = float(token)
        if math.isinf(number):
            raise _ScanError("a number too large for a double", at)
        return number, match.end()

    def string(self, at: int) -> tuple[str, int]:
        match = _PLAIN.match(self.text, at)
        if match:  # no escapes: nearly every text
            return match.group(1), match.end()
        try:
            value, end = _read_string(self.text, at + 1, True)
        except JSONDecodeError as broken:
            raise _ScanError(
                broken.msg[:1].lower() + broken.msg[1:].removesuffix(" at"), broken.pos
            ) from None
        # Half of a surrogate pair is legal JSON (`"\\ud800"`), but has no UTF-8: it could be neither hashed nor stored.
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _ScanError("a lone surrogate in a text", at) from None
        return value, end

    def object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "}":
            return members, at + 1
        while True:
            if self.text[at : at + 1] != '"':
                raise self.unexpected("a key in double quotes", at)
            start = at
            key, at = self.string(at)
            self.path.append(key)  # before the check: a repeated key is part of the pointer
            if key in members:
                raise _ScanError(f"the key {key[:80]!r} appears twice", start)
            at = self.expect(":", at)
            members[key], at = self.value(at, depth + 1)
            self.path.pop()
            at = self.skip(at)
            if self.text[at : at + 1] == "}":
                return members, at + 1
            at = self.expect(",", at)

    def list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "]":
            return items, at + 1
        while True:
            self.path.append(str(len(items)))
            item, at = self.value(at, depth + 1)
            self.path.pop()
            items.append(item)
            at = self.skip(at)
            if self.text[at : at + 1] == "]":
                return items, at + 1
            at = self.expect(",", at)

    def expect(self, mark: str, at: int) -> int:
        at = self.skip(at)
        if self.text[at : at + 1] != mark:
            raise self.unexpected(repr(mark), at)
        return self.skip(at + 1)

    def unexpected(self, wanted: str, at: int) -> _ScanError:
        if at >= len(self.text):
            return _ScanError("the text ends too early", at)
        return _ScanError(f"{wanted} was expected", at)
