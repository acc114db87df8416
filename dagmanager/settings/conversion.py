"""A given value → the type of its setting, or a `ValueError` that names the setting and says what to write."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from dagmanager.settings.table import Field, bare_type

_PATH: Final = " - at `$"
_ANY_KEY: Final = "[...]"


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
    if bare_type(row.type) == Mapping[str, str] and isinstance(value, dict):
        value = {key: _as_text(each) for key, each in value.items()}
    try:
        return msgspec.convert(value, row.type, strict=not from_text)
    except msgspec.ValidationError as error:
        if isinstance(value, dict) and typing.get_origin(bare_type(row.type)) is Mapping:
            raise _invalid_entry(row, value, str(error), strict=not from_text) from error
        got = "" if row.about.secret else f", not {_short(value)}"
        words = f"`{row.name}` must be {row.kind}{got} ({_uncapitalized(str(error))})"
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
            words, _, path = str(error).partition(_PATH)
            place = f"{row.name}.{key}{path.removesuffix('`').removeprefix(_ANY_KEY)}"
            near = nearest(str(key), row.default) if key not in row.default else None
            hint = f"did you mean `{near}`?" if near else _example(row)
            return InvalidValueError(f"`{place}`: {_uncapitalized(words)}", hint)
    return InvalidValueError(f"`{row.name}`: {_uncapitalized(words)}", _example(row))


def _example(row: Field) -> str:
    example = row.about.example
    if not example and row.default not in ("", {}):
        built = msgspec.to_builtins(row.default)
        example = built if isinstance(built, str) else json.dumps(built)
    return f"for example `{row.name}: {example}`" if example else ""


def _uncapitalized(words: str) -> str:
    return words[:1].lower() + words[1:]


def _as_text(value: Any) -> Any:
    """librdkafka takes options as texts, while people write `30000` and `true` in YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _table_or_list(text: str, row: Field) -> Any:
    if text.lstrip().startswith(("[", "{")):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise InvalidValueError(f"`{row.name}` is not JSON: {error}", "quote keys and texts") from error
    return [part.strip() for part in text.split(",") if part.strip()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
