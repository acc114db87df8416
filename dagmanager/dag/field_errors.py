"""Values of a submission that are invalid, as a `Rejection`; and readers of single fields.

`FieldError` stays inside this package: every public function that reads a submission catches it and returns its
rejection.
"""

from __future__ import annotations

from typing import Any, Final

from dagmanager.dag.limits import SHORT_TEXT, TEXT_BYTES_MAX
from dagmanager.errors import ErrorCode, Rejection

DETAILS_MAX: Final = 100
SHOWN_MAX: Final = 80


class FieldError(Exception):
    """A value is invalid; `rejection` is the complete answer."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


def json_type(value: object) -> str:
    """The JSON type of a value in words: `text`, `integer`, `list`, ..."""
    names = {str: "text", bool: "true/false", int: "integer", float: "number", dict: "object", list: "list"}
    return "null" if value is None else names.get(type(value), "a very long integer")


def shortened(value: object) -> str:
    """A value for a message, at most `SHOWN_MAX` characters; of lists and objects only the type."""
    if isinstance(value, dict | list):
        return json_type(value)
    text = repr(value) if isinstance(value, str) else getattr(value, "digits", str(value)).lower()
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def wrong_value(pointer: str, expected: str, value: object) -> FieldError:
    """`invalid_field` at a JSON pointer: what was expected, and the value that was sent."""
    got = (
        json_type(value)
        if isinstance(value, dict | list | None)
        else f"{json_type(value)} {shortened(value)}"
    )
    return field_error(pointer, f"{pointer}: expected {expected}, got {got}", expected, got)


def field_error(
    pointer: str,
    message: str,
    expected: str | None = None,
    got: str | None = None,
    code: ErrorCode = ErrorCode.INVALID_FIELD,
) -> FieldError:
    """An error at a JSON pointer with a message of its own."""
    return FieldError(Rejection(code, message, field=pointer, expected=expected, got=got))


def text_at(fields: dict[str, Any], name: str, pointer: str) -> str | None:
    """A text, or None if missing or null. Raises `FieldError` for anything else."""
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise wrong_value(f"{pointer}/{name}", "text", value)


def bounded_text(text: str, pointer: str) -> str:
    """The text itself. Raises `FieldError` (`too_large`) if it has more than `TEXT_BYTES_MAX` bytes."""
    if len(text) > SHORT_TEXT and (size := len(text.encode())) > TEXT_BYTES_MAX:
        message = f"{pointer}: the text has {size} bytes, the limit is {TEXT_BYTES_MAX}"
        raise field_error(pointer, message, str(TEXT_BYTES_MAX), str(size), ErrorCode.TOO_LARGE)
    return text


def flag_at(fields: dict[str, Any], name: str, pointer: str) -> bool:
    """true/false; missing or null is false. Raises `FieldError` for anything else."""
    value = fields.get(name)
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    raise wrong_value(f"{pointer}/{name}", "true or false", value)


def object_at(fields: dict[str, Any], name: str, pointer: str) -> dict[str, Any]:
    """An object; missing or null is an empty one. Raises `FieldError` for anything else."""
    value = fields.get(name)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise wrong_value(f"{pointer}/{name}", "an object", value)


def escaped_key(key: str) -> str:
    """A key as one segment of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
