"""A given value → the type of its setting, or a `ValueError` that names the setting and says what to write."""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from dagmanager.settings.table import Field, bare_type

_PATH: Final = " - at `$"
_ANY_KEY: Final = "[...]"
_AT_KEY: Final = " - at `key` in"


class InvalidValueError(ValueError):
    """The value of a setting is invalid. `hint` says what to write; neither text shows a secret."""

    def __init__(self, message: str, hint: str) -> None:
        """Both for people."""
        super().__init__(message)
        self.hint = hint


def convert(row: Field, value: Any, *, from_text: bool) -> Any:
    """The value as the setting's type. Raises `InvalidValueError`; it names the entry of a table that is invalid."""
    # Environment variables are texts: lists are written `a, b`, tables as JSON.
    if from_text and typing.get_origin(bare_type(row.type)) in (tuple, Mapping):
        value = _table_or_list(value, row)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValueError(f"`{row.name}` must be {row.kind}, not {value}", _example(row))
    try:
        return msgspec.convert(value, row.type, strict=not from_text)
    except msgspec.ValidationError as error:
        if isinstance(value, dict) and typing.get_origin(bare_type(row.type)) is Mapping:
            raise _invalid_entry(row, value, str(error), strict=not from_text) from error
        got = "" if row.about.secret else f", not {_short(value)}"
        words = f"`{row.name}` must be {row.kind}{got} ({_reason(str(error))})"
        raise InvalidValueError(words, _example(row)) from error


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The most similar known word, None when none is similar."""
    import difflib

    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def _invalid_entry(row: Field, table: Mapping[Any, Any], words: str, *, strict: bool) -> InvalidValueError:
    """Name the first invalid entry: msgspec says only `$[...]` for its key."""
    for key, value in table.items():
        try:
            msgspec.convert({key: value}, row.type, strict=strict)
        except msgspec.ValidationError as error:
            if _AT_KEY in str(error):
                known = ", ".join(f"`{each}`" for each in row.default)
                near = nearest(str(key), row.default)
                hint = f"did you mean `{near}`?" if near else _example(row)
                return InvalidValueError(f"`{row.name}.{key}`: the keys are {known}", hint)
            words, _, path = str(error).partition(_PATH)
            place = f"{row.name}.{key}{path.removesuffix('`').removeprefix(_ANY_KEY)}"
            return InvalidValueError(f"`{place}`: {_reason(words)}", _example(row))
    return InvalidValueError(f"`{row.name}`: {_reason(words)}", _example(row))


def _example(row: Field) -> str:
    example = row.about.example
    if not example and row.default not in ("", {}):
        built = msgspec.to_builtins(row.default)
        example = built if isinstance(built, str) else json.dumps(built)
    return f"for example `{row.name}: {example}`" if example else ""


def _reason(words: str) -> str:
    """msgspec's words as a part of a sentence; only names of topics have a pattern."""
    if "matching regex" in words:
        return "a topic name has letters, digits, `.`, `_` and `-`, 249 at most, and is neither `.` nor `..`"
    return words[:1].lower() + words[1:]


def _table_or_list(text: str, row: Field) -> Any:
    if text.lstrip().startswith(("[", "{")):
        try:
            return _texts(text) if bare_type(row.type) == Mapping[str, str] else msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise InvalidValueError(f"`{row.name}` is not JSON: {error}", "quote keys and texts") from error
    return [part.strip() for part in text.split(",") if part.strip()]


def _texts(text: str) -> dict[str, Any]:
    """A JSON object whose numbers and truth values are kept as they are written: `1.50` is not `1.5`."""
    raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    is_written = {key: bytes(each)[:1] not in b'"[{n' for key, each in raw.items()}
    return {
        key: bytes(each).decode() if is_written[key] else msgspec.json.decode(each)
        for key, each in raw.items()
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
